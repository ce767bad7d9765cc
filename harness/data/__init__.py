"""Data sets with their training, validation and test splits."""

from harness.data.dataset import Dataset, Split

__all__ = ["Dataset", "Split"]
