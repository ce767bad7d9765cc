"""Labeled data sets with their training, validation and test splits."""

from harness.data.dataset import Split, TextData

__all__ = ["Split", "TextData"]
