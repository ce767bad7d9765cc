"""What stands in the place of a pretrained model and its tokenizer where rows are histories of items.

Recommenders have no pretrained backbone: what they know of items is in the parameters that a method fits.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import nn

from harness.models.pretrained import CONFIG, INTERACTIONS


class NoBackbone(nn.Module):
    """A backbone without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type=INTERACTIONS)

    def forward(self, **inputs: Any) -> Any:
        """Raise: there is nothing to compute.

        Raises:
            TypeError: always.
        """
        raise TypeError("Recommenders have no pretrained backbone.")


class ItemIndex:
    """A tokenizer's place: items are numbered by the data set."""

    pad_token_id = 0
    model_max_length = 1_000_000_000  # histories have any length

    def save_pretrained(self, directory: str) -> None:
        """Write config.json, by which a saved model is known to read interactions."""
        (Path(directory) / CONFIG).write_text(json.dumps({"model_type": INTERACTIONS}) + "\n", encoding="utf-8")
