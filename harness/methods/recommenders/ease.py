"""EASE: a linear autoencoder of interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.errors import Problems
from harness.methods.base import Labels, Recommender
from harness.methods.recommenders.counts import check_items, interactions
from harness.models.recommenders.scorers import LinearScorer


@dataclass(kw_only=True)
class Ease(Recommender):
    """Each item predicted by ridge regression from the others (Steck 2019, arXiv:1905.03375), in closed form.

    Attributes:
        penalty: strength of the L2 penalty, lambda in the paper.
        window: items of the history that count, the last ones; 0: all, as in the paper.
    """

    penalty: float = 100.0
    window: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        problems = Problems()
        problems.check(self.penalty > 0, f"method.penalty must be above 0, not {self.penalty}.")
        problems.whole("method.window", self.window, 0)
        problems.raise_any()

    def fit(self, histories: Sequence[Labels], items: int) -> nn.Module:
        """Invert the Gram matrix, and scale its columns so that no item predicts itself."""
        check_items(self.name, items)
        held = interactions(histories, items)
        gram = (held.T @ held).toarray()
        gram[np.diag_indices(items)] += self.penalty
        inverse = np.linalg.inv(gram)
        weight = inverse / -np.diag(inverse)
        np.fill_diagonal(weight, 0.0)
        scorer = LinearScorer(items, self.window or None)
        assert scorer.weight is not None
        with torch.no_grad():
            scorer.weight.copy_(torch.as_tensor(weight))
        return scorer
