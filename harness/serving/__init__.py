"""Saved models, and predictions with them."""
