"""Heads on a pooled vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALE = 20.0  # of the normalised vector, so that a linear head of ordinary size can be confident


HEADS = ("classifier", "score", "classification_head")  # what architectures call their own last layers


class KnnHead(nn.Module):
    """The k nearest of n stored vectors vote, each with exp(cosine / temperature).

    Logits are logarithms of the classes' shares of the vote. Its tensors
    are parameters, though none trains, so that it is counted and saved as any head is.

    Args:
        rows: n.
        size: d.
        classes: C.
        k: how many vote.
        temperature: see above.
    """

    def __init__(self, rows: int, size: int, classes: int, k: int, temperature: float) -> None:
        super().__init__()
        self.k, self.temperature, self.classes = k, temperature, classes
        self.bank = nn.Parameter(torch.zeros(rows, size), requires_grad=False)
        self.labels = nn.Parameter(torch.zeros(rows, dtype=torch.int64), requires_grad=False)

    def forward(self, scaled: Tensor) -> Tensor:
        """Logits (n, C) of 20 x L2-normalised vectors (n, d)."""
        nearest = (scaled / SCALE @ self.bank.T).topk(self.k, dim=-1)
        weights = (nearest.values / self.temperature).softmax(dim=-1)
        votes = weights.new_zeros(len(scaled), self.classes)
        votes.scatter_add_(1, self.labels[nearest.indices], weights)
        return votes.clamp(min=1e-6).log()
