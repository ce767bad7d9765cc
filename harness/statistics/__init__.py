"""Statistics of small comparisons. Scores are oriented so that more is better. Imports no torch."""
