"""Dropout masks on a CPU, four values to a 64-bit draw (`train.dropout_masks=lanes`).

PyTorch draws a double of a serial Mersenne twister for each value of a mask, which takes 10 to 26 % of a training step.
Here each value is a lane of 16 bits of numpy's SFC64, compared with a threshold. Probabilities are therefore rounded to
a multiple of 1/65536, and kept values are scaled by the rounded probability, so that expectations are exact.

The masks of a batch follow from the run's seed, the step and the batch within the step. So they are equal whether a
session computes alone or in a shared pass, from the start or from a checkpoint, and on any number of threads. Within a
batch, layers draw one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from harness.training.row_order import stream_seed

LEVELS = 2**16  # values of a lane
BLOCK = 2**17  # lanes that are drawn at once, so that they stay in the cache; a multiple of 4
_plain_dropout, _plain_attention = functional.dropout, functional.scaled_dot_product_attention
Lanes = npt.NDArray[np.uint16]  # uniform over all values of the type
Kept = npt.NDArray[np.bool_]  # a mask: True where a value is kept


class MaskStream:
    """The random stream of a session's dropout masks.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = np.random.SFC64(0)
        self._place: tuple[slice, int] | None = None

    def begin(self, step: int, part: int) -> None:
        """Start the masks of a batch: `part` of the batches whose gradients make up optimizer step `step`."""
        self._generator = np.random.SFC64(stream_seed(self._seed, "masks", step, part))

    @contextmanager
    def drawing(self, step: int, part: int, place: tuple[slice, int] | None = None) -> Iterator[None]:
        """Draw the masks of all dropout within the block, of modules and of functions, from this stream.

        The functions of `torch.nn.functional` are replaced in this process. A `TorchFunctionMode` would see every call
        of torch, which takes 5 % of a small step.

        Args:
            step, part: see `begin`.
            place: the rows of the batch that are computed here, and how many it has; None: all. Masks are those of
                the whole batch, of which these rows take theirs.
        """
        self.begin(step, part)
        self._place = place
        before = {name: getattr(functional, name) for name in _REPLACED}
        try:
            for name, own in _REPLACED.items():
                setattr(functional, name, partial(own, self))
            yield
        finally:
            self._place = None
            for name, plain in before.items():
                setattr(functional, name, plain)

    def lanes(self, count: int) -> Lanes:
        """Draw lanes (count,)."""
        # Raw output, because numpy promises that it stays the same in later versions.
        return self._generator.random_raw(-(-count // 4)).view(np.uint16)[:count]

    def kept(self, count: int, probability: float) -> Kept:
        """Draw the mask (count,): False with the probability, which is rounded to a multiple of 1/65536."""
        mask = np.empty(count, dtype=np.bool_)
        for start in range(0, count, BLOCK):
            block = mask[start : start + BLOCK]
            np.greater_equal(self.lanes(len(block)), _dropped(probability), out=block)
        return mask

    def of_rows(self, shape: Sequence[int], probability: float) -> Kept:
        """Draw the mask of a tensor; of a part of a batch (`drawing`), if its first dimension is of rows."""
        count = math.prod(shape)
        if self._place is None:
            return self.kept(count, probability).reshape(shape)
        part, rows = self._place
        here = part.stop - part.start
        if not shape or shape[0] % here:
            return self.kept(count, probability).reshape(shape)
        size = count // here  # values a row
        # The generator cannot skip: what belongs to other rows is drawn, too.
        return self.kept(size * rows, probability)[size * part.start : size * part.stop].reshape(shape)

    def fill(self, factors: Tensor, probability: float) -> Tensor:
        """Draw dropout factors into a contiguous tensor of the CPU: 0, or what keeps the expectation."""
        return fill(factors, self.kept(factors.numel(), probability).reshape(factors.shape), probability)


def selected(lanes: Lanes, probability: float) -> Kept:
    """Return the mask that follows from lanes (see `MaskStream.kept`)."""
    return lanes >= _dropped(probability)


def fill(factors: Tensor, kept: Kept, probability: float) -> Tensor:
    """Write the dropout factors that follow from a mask of the same shape, and return them."""
    dropped = _dropped(probability)
    factor = torch.tensor(LEVELS / (LEVELS - dropped) if dropped < LEVELS else 0.0, dtype=factors.dtype)
    # Of these bits, 0 is the number 0 in every type. numpy multiplies several times as fast as torch converts, and has
    # no bfloat16.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[factors.element_size()]
    np.multiply(kept, factor.view(bits).numpy(), out=factors.view(bits).numpy())
    return factors


def _dropped(probability: float) -> int:
    """Return how many of the values of a lane drop."""
    return round(probability * LEVELS)


class _Product(torch.autograd.Function):
    """inputs * factors. Of the factors, the mask alone is kept for the backward pass: one byte a value."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, stream: MaskStream, probability: float) -> Tensor:
        """Multiply."""
        ctx.kept, ctx.probability = stream.of_rows(inputs.shape, probability), probability
        return fill(torch.empty(inputs.shape, dtype=inputs.dtype), ctx.kept, probability).mul_(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of the inputs."""
        factors = fill(torch.empty(gradient.shape, dtype=gradient.dtype), ctx.kept, ctx.probability)
        return factors.mul_(gradient), None, None


def _product(stream: MaskStream, inputs: Tensor, probability: float) -> Tensor:
    found: Tensor = _Product.apply(inputs, stream, probability)  # type: ignore[no-untyped-call]  # torch's own
    return found


def _dropout(stream: MaskStream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout`."""
    if not training or not 0 < p <= 1 or input.device.type != "cpu":
        return _plain_dropout(input, p, training, inplace)
    found = _product(stream, input, p)
    return input.copy_(found) if inplace else found


def _attention(
    stream: MaskStream,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`.

    With dropout, PyTorch computes it from the same products on a CPU: its fused kernels have none there.
    """
    if dropout_p == 0 or query.device.type != "cpu":
        options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        return _plain_attention(query, key, value, attn_mask, dropout_p, is_causal, **options)
    if enable_gqa and (shared := query.shape[-3] // key.shape[-3]) > 1:
        key, value = (each.repeat_interleave(shared, dim=-3) for each in (key, value))
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    weights = attention_weights(query, key, attn_mask, scale)
    return torch.matmul(_product(stream, weights, dropout_p), value)


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Return attention weights (..., L, S) before dropout.

    Args:
        query, key: (..., L, size) and (..., S, size).
        mask: broadcast to the weights: True where a query may attend to a key, or numbers that are added; None: it may
            attend to all.
        scale: factor of the products; None is 1 / sqrt(size).
    """
    weights = torch.matmul(query * (query.shape[-1] ** -0.5 if scale is None else scale), key.transpose(-2, -1))
    if mask is not None:
        if mask.dtype == torch.bool:
            # Finite, so that a row of padding that may attend to nothing does not become NaN.
            hidden = torch.finfo(weights.dtype).min / 2
            mask = torch.zeros_like(mask, dtype=weights.dtype).masked_fill_(~mask, hidden)
        weights += mask
    return weights.softmax(dim=-1)


_REPLACED: dict[str, Callable[..., Tensor]] = {"dropout": _dropout, "scaled_dot_product_attention": _attention}
