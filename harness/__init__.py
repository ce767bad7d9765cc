"""Which model, adapted by which method, is good enough for a task at least cost, and how sure we are."""

__version__ = "0.1.0"
