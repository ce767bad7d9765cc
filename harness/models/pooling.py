"""Pooling of token vectors into one vector per row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError

POOLED_WIDTH = "pooled_width"  # attribute of a backbone whose configuration does not state the size of its vectors


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pool token vectors (n, length, d) under a mask (n, length) into (n, d)."""
    # Positions come from the mask, so that padding may be on either side.
    rows = torch.arange(len(hidden), device=hidden.device)
    if pooling == "cls":
        return hidden[rows, mask.argmax(dim=1)]
    if pooling == "last":
        return hidden[rows, mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def widened(tensor: Tensor) -> Tensor:
    """Convert to at least float32: autocast may have computed in lower precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def width(backbone: nn.Module) -> int:
    """Return the size d of a backbone's token vectors."""
    if isinstance(size := getattr(backbone, POOLED_WIDTH, None), int):
        return size
    config: Any = backbone.config
    for name in ("hidden_size", "dim", "d_model"):
        if isinstance(size := getattr(config, name, None), int):
            return size
    if (sizes := getattr(config, "hidden_sizes", None)) is not None:  # of the stages of a convolutional network
        return int(sizes[-1])
    raise HarnessError(
        f"{type(backbone).__name__} has no hidden size in its configuration; it is not an encoder that can be pooled."
    )
