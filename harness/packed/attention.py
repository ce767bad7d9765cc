"""Attention within the rows of a packed pass, as a function that transformers' models can be told to call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NAME = "packed"


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, scaling: float | None = None, **options: Any
) -> tuple[Tensor, None]:
    """Let the tokens of each row attend to each other.

    Dropout is drawn as PyTorch's `scaled_dot_product_attention` draws it on a CPU, which has no argument for whose
    random numbers those are.

    Args:
        module: an attention layer; its `dropout` is a `PackedDropout`, which knows the pass.
        query, key, value: (1, heads, T, size).
        mask: none; rows are told apart by the layout.
        scaling: of the products; None is 1 / sqrt(size).
        options: what transformers passes besides.

    Returns:
        (1, T, heads, size).
    """
    dropout = module.dropout
    layout = dropout.step.layout
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling

    def by_row(tokens: Tensor) -> Tensor:
        rows: Tensor = layout.by_row(tokens[0].transpose(0, 1))
        return rows.transpose(1, 2)

    weights = torch.matmul(by_row(query) * factor, by_row(key).transpose(2, 3))
    if layout.padded:
        weights = weights.masked_fill(layout.mask[:, None, None, :] == 0, -torch.inf)
    weights = weights.softmax(dim=-1)
    if any(dropout.chances.values()):
        weights = weights * dropout.step.attention_noise(dropout.chances, weights)
    return layout.tokens(torch.matmul(weights, by_row(value)).transpose(1, 2))[None], None


def register() -> None:
    """Make the function known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


class PackedDropout(nn.Module):
    """Dropout at each member's own rate, from its own stream.

    Args:
        step: the pass under way.
        chances: K probabilities, by the member's index.
    """

    def __init__(self, step: Any, chances: dict[int, float]) -> None:
        super().__init__()
        self.step, self.chances = step, chances
        self.p = max(chances.values())  # attention layers look at it before they call `attend`

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop out of (1, T, d)."""
        if not any(self.chances.values()):
            return inputs
        kept: Tensor = inputs * self.step.noise(self.chances, inputs[0])
        return kept
