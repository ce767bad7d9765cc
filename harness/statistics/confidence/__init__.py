"""How sure a classifier is: calibration, abstention for a wanted precision, separation of two groups of rows."""
