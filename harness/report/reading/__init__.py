"""Readers of studies, archives and predictions."""
