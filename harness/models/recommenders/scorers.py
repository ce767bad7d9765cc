"""Scorers of items for histories of items: a linear model of what is in them, and a transformer over their order.

A scorer maps items (b, length) int64 and a mask (b, length), padded on the left, to scores (b, I). `settings` rebuilds
it without its parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class LinearScorer(nn.Module):
    """score(i) = bias(i) + sum of weight(j, i) over the last items j of the history.

    The tensors are parameters, though not trained, so that they are counted and saved like those of any head.

    Args:
        items: number of items I.
        window: items of a history that count, the last ones; None: all.
        weights: whether there is a weight (I, I); else scores are the biases for everyone.
    """

    kind = "linear"

    def __init__(self, items: int, window: int | None = None, weights: bool = True) -> None:
        super().__init__()
        self.items, self.window = items, window
        self.weight = nn.Parameter(torch.zeros(items, items), requires_grad=False) if weights else None
        self.bias = nn.Parameter(torch.zeros(items), requires_grad=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that rebuild it."""
        return {
            "kind": self.kind, "items": self.items, "window": self.window, "weights": self.weight is not None,
        }  # fmt: skip

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Return scores (b, I)."""
        if self.weight is None:
            return self.bias.expand(len(items), -1)
        if self.window is not None:
            items, mask = items[:, -self.window :], mask[:, -self.window :]
        held = self.weight.new_zeros(len(items), self.items)
        held.scatter_add_(1, items, mask.to(held.dtype))
        held.clamp_(max=1.0)  # an item counts once, as it does in fitting
        with torch.autocast(items.device.type, enabled=False):  # in bfloat16 many items would have equal scores
            return held @ self.weight + self.bias


class SelfAttentiveScorer(nn.Module):
    """A transformer over a history, each item seeing those before it (SASRec: Kang and McAuley 2018, arXiv:1808.09781).

    Scores are inner products with the embeddings of items. Positions are counted from the last item.

    Args:
        items: number of items I.
        width: d of the embeddings.
        layers, heads: of the transformer.
        length: most items of a history that are read.
        dropout: probability.
    """

    kind = "self_attentive"

    def __init__(self, items: int, width: int, layers: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "kind": self.kind, "items": items, "width": width, "layers": layers, "heads": heads, "length": length,
            "dropout": dropout,
        }  # fmt: skip
        self.embeddings, self.places = nn.Embedding(items, width), nn.Embedding(length, width)
        for table in (self.embeddings, self.places):
            nn.init.normal_(table.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Return scores: (b, I) in eval mode, (t, I) of each item but the last of a row in training mode."""
        length = self.places.num_embeddings
        if self.training:
            items, before, after = items[:, :-1], mask[:, :-1], mask[:, 1:]
            vectors = self._vectors(items[:, -length:], before[:, -length:])
            chosen = vectors[(before & after)[:, -length:]]
        else:
            chosen = self._vectors(items[:, -length:], mask[:, -length:])[:, -1]
        with torch.autocast(items.device.type, enabled=False):  # in bfloat16 many items would have equal scores
            return chosen.to(self.embeddings.weight.dtype) @ self.embeddings.weight.T

    def _vectors(self, items: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(items.shape[1] - 1, -1, -1, device=items.device)
        hidden = self.dropout(self.embeddings(items) * self.embeddings.embedding_dim**0.5 + self.places(places))
        # Each item sees itself and those before it; padding sees itself only, so that no row of scores is empty.
        causal = torch.ones(items.shape[1], items.shape[1], dtype=torch.bool, device=items.device).tril()
        seen = (causal & mask[:, None, :]) | torch.eye(items.shape[1], dtype=torch.bool, device=items.device)
        for block in self.blocks:
            hidden = block(hidden, seen[:, None])
        normed: Tensor = self.norm(hidden)
        return normed


class _Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        rows, length, width = hidden.shape
        parts = self.project(self.attention_norm(hidden)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        hidden = hidden + self.dropout(self.out(mixed.transpose(1, 2).reshape(rows, length, width)))
        made: Tensor = hidden + self.dropout(self.outer(functional.gelu(self.inner(self.inner_norm(hidden)))))
        return made


SCORERS = {each.kind: each for each in (LinearScorer, SelfAttentiveScorer)}


def scorer_of(settings: dict[str, Any]) -> nn.Module:
    """Rebuild a scorer from its `settings`, without its parameters."""
    arguments = dict(settings)
    made: nn.Module = SCORERS[arguments.pop("kind")](**arguments)
    return made
