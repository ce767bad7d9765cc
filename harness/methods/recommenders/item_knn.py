"""Nearest neighbors of items."""

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
class ItemKnn(Recommender):
    """Items similar to those of the history (Sarwar et al. 2001, Item-based collaborative filtering).

    The similarity of two items is the cosine of their columns of users, shrunk as if they had more users in all.

    Attributes:
        k: similar items that count for each item of the history.
        shrink: users that are added to the denominator; more trust rare items less.
        window: items of the history that count, the last ones; 0: all.
    """

    k: int = 100
    shrink: float = 0.0
    window: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        problems = Problems()
        problems.whole("method.k", self.k)
        problems.check(self.shrink >= 0, f"method.shrink must be 0 or more, not {self.shrink}.")
        problems.whole("method.window", self.window, 0)
        problems.raise_any()

    def fit(self, histories: Sequence[Labels], items: int) -> nn.Module:
        """Compute the similarities."""
        check_items(self.name, items)
        held = interactions(histories, items)
        together = (held.T @ held).toarray()
        own = np.sqrt(together.diagonal())
        similar = together / np.maximum(own[:, None] * own[None, :] + self.shrink, 1e-12)
        np.fill_diagonal(similar, 0.0)
        if self.k < items - 1:
            least = -np.partition(-similar, self.k - 1, axis=1)[:, self.k - 1 : self.k]
            similar[similar < least] = 0.0
        scorer = LinearScorer(items, self.window or None)
        assert scorer.weight is not None
        with torch.no_grad():
            scorer.weight.copy_(torch.as_tensor(similar))
        return scorer
