"""Features of a frozen backbone, and what a worker process keeps between runs."""
