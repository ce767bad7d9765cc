"""Labelled data with its splits: what a run trains on, is chosen by, and is judged by."""

from harness.data.dataset import Split, TextData

__all__ = ["Split", "TextData"]
