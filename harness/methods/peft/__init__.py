"""Methods of the library peft."""
