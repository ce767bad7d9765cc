"""Methods of the PEFT library."""
