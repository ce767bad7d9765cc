"""Changes of a service while it runs."""
