"""Saved models, and prediction with them."""
