"""Zero-shot: the class of the most similar description, the most similar passages, or a written text; no training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.api.heads import LinearHead
from harness.methods.base import ClosedForm, Features, Labels, Prompted, Retriever

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class ZeroShot(ClosedForm, Prompted, Retriever):
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

    def index(self, passages: Sequence[str], vectors: Callable[[], Features]) -> nn.Module:
        """Use the passages' vectors; the scores are cosines."""
        from harness.models.retrieval.indexes import VectorIndex

        values = vectors()
        made = VectorIndex(*values.shape)
        made.put(values)
        return made
