"""Networks that score items for a history of items."""
