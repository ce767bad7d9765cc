"""What a saved classifier knows of its own reliability: temperature, abstention, detectors of rows out of scope."""
