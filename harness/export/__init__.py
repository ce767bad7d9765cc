"""Chosen models in files that other tools load: `harness export`."""
