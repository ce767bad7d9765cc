"""A pool of warm local processes."""
