"""Zero-shot: a text gets the class with the most similar description, or a model writes its answer; no training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.api.heads import LinearHead
from harness.methods.base import ClosedForm, Features, Labels, Prompted


@dataclass(kw_only=True)
class ZeroShot(ClosedForm, Prompted):
    """Cosine similarity to the embedded class descriptions; training rows are not used.

    A model that writes texts writes them after the prompt alone.

    Attributes:
        sharpness: factor of the cosines before the softmax; it changes probabilities, not predictions.
    """

    reads_rows: ClassVar[bool] = False

    sharpness: float = 20.0

    def fit(self, features: Features, labels: Labels, descriptions: Features) -> LinearHead:
        """Use the descriptions' vectors (C, d) as the head's weight."""
        return LinearHead(self.sharpness * descriptions, np.zeros(len(descriptions), dtype=np.float32))
