"""The most popular items for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.methods.base import Labels, Recommender
from harness.models.recommenders.scorers import LinearScorer


@dataclass(kw_only=True)
class Popularity(Recommender):
    """An item's score is the share of training users who have it."""

    def fit(self, histories: Sequence[Labels], items: int) -> nn.Module:
        """Count the users of each item."""
        scorer = LinearScorer(items, weights=False)
        counts = np.zeros(items)
        for each in histories:
            counts[np.unique(each)] += 1
        with torch.no_grad():
            scorer.bias.copy_(torch.as_tensor(counts / len(histories)))
        return scorer
