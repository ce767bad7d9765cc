"""What a service counts of its answers, and whether they are still like those for validation rows."""
