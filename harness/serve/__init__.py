"""Saved models behind an address: `harness serve`."""
