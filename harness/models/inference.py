"""Prediction for all rows of a split, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.examples import Batch, Examples, by_length
from harness.models.precision.cast_weights import KeptCasts


def predict_all(
    function: Callable[[Batch], Tensor], examples: Examples, batch_size: int, device: torch.device, precision: str
) -> npt.NDArray[np.float32]:
    """Apply a network to all rows, without gradients, in batches of similar length.

    Args:
        function: maps a batch to (rows, m).
        examples: n rows.
        batch_size: rows per batch.
        device: where the function computes.
        precision: fp32 | bf16 (autocast).

    Returns:
        (n, m) float32, in the order of the rows.
    """
    parts = by_length(examples.tokens.lengths, batch_size)
    # Not inference_mode: some layers cache tables on first use, and training could not use inference tensors.
    with torch.no_grad(), autocast(device, precision):
        pieces = [function(examples.batch(rows, device)).float() for rows in parts]
    values = torch.cat(pieces).cpu().numpy()
    result = np.empty_like(values)
    result[np.concatenate(parts)] = values
    return result


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in bfloat16 where that is safe within the block, if the precision is bf16."""
    reduced = precision == "bf16"
    casts = KeptCasts() if reduced and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=reduced), casts:
        yield


def softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Return the class probabilities of logits (n, C)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float32] = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
