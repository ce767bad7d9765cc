"""Attention within the rows of a shared pass, registered with transformers as an attention implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.models.cpu_kernels import kernel
from harness.training.fused.shared_pass import SharedPass
from harness.training.masks import attention_weights

NAME = "packed"


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, scaling: float | None = None, **options: Any
) -> tuple[Tensor, None]:
    """Compute attention among the tokens of each row, causal if the layer's `is_causal` is set.

    With dropout, PyTorch's `scaled_dot_product_attention` is not used: it takes neither masks nor a random generator.

    Args:
        module: an attention layer prepared by `know`.
        query, key, value: (1, heads, T, size); keys and values may have fewer heads.
        mask: always None; the layout separates the rows.
        scaling: factor of the products; None is 1 / sqrt(size).
        options: further arguments of transformers; of these, only `sliding_window` is used.

    Returns:
        (1, T, heads, size).
    """
    step, chances = module.step, module.chances
    layout = step.layout
    queries, keys, values = (layout.by_row(each[0].transpose(0, 1)).transpose(1, 2) for each in (query, key, value))
    if (shared := queries.shape[1] // keys.shape[1]) > 1:
        keys, values = (each.repeat_interleave(shared, dim=1) for each in (keys, values))
    visible = layout.visible(module.is_causal, options.get("sliding_window"))
    if not any(chances.values()):
        with kernel(queries):
            found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible, scale=scaling)
    else:
        weights = attention_weights(queries, keys, visible, scaling)
        found = torch.matmul(weights * step.attention_noise(chances, weights), values)
    return layout.tokens(found.transpose(1, 2))[None], None


def know(fused: nn.Module, own: Sequence[nn.Module], step: SharedPass) -> None:
    """Attach the shared pass, and each session's dropout probability, to the attention layers of a fused backbone.

    Args:
        packed: the fused backbone.
        own: the K backbones of the sessions.
        step: the shared pass.
    """
    for name, module in fused.named_modules():
        if hasattr(module, "is_causal"):
            known: Any = module
            known.step = step
            known.chances = {k: _chance(backbone.get_submodule(name)) for k, backbone in enumerate(own)}


def _chance(attention: Any) -> float:
    """Return the dropout probability of attention weights; layers store it as a dropout module or as a number."""
    dropout = getattr(attention, "dropout", None) or getattr(attention, "attn_dropout", None)
    chance = dropout.p if isinstance(dropout, nn.Dropout) else getattr(attention, "attention_dropout", 0.0)
    return float(chance) if attention.training else 0.0


def register() -> None:
    """Register `attend` with transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


class FusedDropout(nn.Module):
    """Dropout with each session's own probability and random stream.

    Args:
        step: the shared pass.
        chances: K probabilities, by the session's index.
    """

    def __init__(self, step: SharedPass, chances: dict[int, float]) -> None:
        super().__init__()
        self.step, self.chances = step, chances
        self.p = max(chances.values())  # attention layers pass it to `attend`, which ignores it

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply dropout to (1, T, d)."""
        if not any(self.chances.values()):
            return inputs
        kept: Tensor = inputs * self.step.noise(self.chances, inputs[0])
        return kept
