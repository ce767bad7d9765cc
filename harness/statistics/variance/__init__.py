"""Variances of means and of their differences: over seeds, replicates, test rows and groups of rows."""
