"""The cells of a report: their runs summarized, names, settings, what failed, what was chosen."""
