"""Readers of data files and of hub data sets."""
