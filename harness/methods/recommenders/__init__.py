"""Methods that recommend items."""
