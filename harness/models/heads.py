"""Classification heads on a pooled vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALE = 20.0  # factor of the normalized vector, so that a linear head with weights of ordinary size can be confident


HEADS = ("classifier", "score", "classification_head")  # names of the architectures' own heads
# Layers of detectors whose shapes follow from the classes, and those that give boxes.
CLASS_HEADS = ("class_labels_classifier", "class_embed", "enc_score_head", "denoising_class_embed")
BOX_HEADS = ("bbox_predictor", "bbox_embed", "enc_bbox_head")


class KnnHead(nn.Module):
    """The k nearest of n stored vectors vote, each with weight exp(cosine / temperature).

    Logits are the logarithms of the classes' fractions of the vote. The tensors are parameters, though not trained, so
    that they are counted and saved like those of any head.

    Args:
        rows: n.
        size: d.
        classes: C.
        k: number of vectors that vote.
        temperature: see above.
    """

    def __init__(self, rows: int, size: int, classes: int, k: int, temperature: float) -> None:
        super().__init__()
        self.k, self.temperature, self.classes = k, temperature, classes
        self.bank = nn.Parameter(torch.zeros(rows, size), requires_grad=False)
        self.labels = nn.Parameter(torch.zeros(rows, dtype=torch.int64), requires_grad=False)

    def forward(self, scaled: Tensor) -> Tensor:
        """Return the logits (n, C) of 20 x L2-normalized vectors (n, d)."""
        nearest = (scaled / SCALE @ self.bank.T).topk(self.k, dim=-1)
        weights = (nearest.values / self.temperature).softmax(dim=-1)
        votes = weights.new_zeros(len(scaled), self.classes)
        votes.scatter_add_(1, self.labels[nearest.indices], weights)
        return votes.clamp(min=1e-6).log()
