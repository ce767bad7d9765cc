"""How sure a classifier is: calibrated probabilities, abstention for a wanted precision, separation of two groups of rows."""
