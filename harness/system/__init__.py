"""Facts about the machine, and the snapshot of the code that runs use."""
