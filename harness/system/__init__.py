"""The machine and the copy of the code that runs use."""
