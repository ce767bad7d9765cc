"""Hydra discovers plugins only in this namespace."""
