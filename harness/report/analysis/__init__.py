"""Summaries, verdicts and the recommendation of a report."""
