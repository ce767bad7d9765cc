"""Nearest class mean on frozen features: a text gets the class with the most similar mean vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.api.heads import LinearHead
from harness.methods.base import ClosedForm, Features, Labels


@dataclass(kw_only=True)
class NearestMean(ClosedForm):
    """Cosine similarity to the mean of each class's normalized vectors (the prototypes of Snell et al. 2017, frozen).

    Attributes:
        sharpness: factor of the cosines before the softmax; it changes probabilities, not predictions.
    """

    sharpness: float = 20.0

    def fit(self, features: Features, labels: Labels, descriptions: Features) -> LinearHead:
        """Use the normalized class means (C, d) as the head's weight."""
        classes = len(descriptions)
        means = np.stack([features[labels == index].mean(axis=0) for index in range(classes)])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return LinearHead(self.sharpness * means, np.zeros(classes, dtype=np.float32))
