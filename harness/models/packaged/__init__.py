"""Models inside Python packages, for machines that reach no hub."""
