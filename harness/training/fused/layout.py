"""The token layout of a shared pass: the rows of all sessions one after another, without padding between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.examples import Examples, Rows


@dataclass(frozen=True)
class Layout:
    """One step of K sessions: N rows with T tokens.

    Attributes:
        ids, positions: (1, T) int64; positions count from 0 in each row.
        types: (1, T) int64 token types, or None if the tokenizer gives none.
        segments: K slices of the T tokens, in the order of the sessions.
        rows: K slices of the N rows.
        widths: K padded lengths, of each session's batch alone.
        kept: K times (tokens,) int64: the indices of a session's tokens in its own padded batch, flattened to (rows *
            width); None if that batch has no padding.
        places: (N, L) int64: the token index at each position of all rows padded to the longest; padding repeats the
            row's first token.
        mask: (N, L) int64, 1 where there is a token.
        flat: (T,) int64 indices of the tokens in (N * L).
        predicted: (p,) int64 indices of the tokens whose prediction is part of the loss; empty for tasks with a target
            for each row.
    """

    ids: Tensor
    positions: Tensor
    types: Tensor | None
    segments: tuple[slice, ...]
    rows: tuple[slice, ...]
    widths: tuple[int, ...]
    kept: tuple[Tensor | None, ...]
    places: Tensor
    mask: Tensor
    flat: Tensor
    predicted: Tensor

    @classmethod
    def of(cls, batches: Sequence[tuple[Examples, Rows]], device: torch.device) -> Layout:
        """Lay out one batch of each session."""
        lengths = [examples.tokens.lengths[rows] for examples, rows in batches]
        every = np.concatenate(lengths)
        firsts = np.concatenate([[0], np.cumsum(every)[:-1]])
        steps = np.arange(every.max())
        mask = steps < every[:, None]
        positions = np.broadcast_to(steps, mask.shape)[mask]
        counts = [int(each.sum()) for each in lengths]
        ids = [_taken(examples.tokens.ids, examples, rows) for examples, rows in batches]
        types = [
            _taken(examples.tokens.types, examples, rows)
            for examples, rows in batches
            if examples.tokens.types is not None
        ]
        trained = [
            _taken(examples.tokens.trained, examples, rows)
            for examples, rows in batches
            if examples.tokens.trained is not None
        ]
        # Nothing comes before the first token of a row, which could predict it.
        predicted = (np.concatenate(trained) == 1) & (positions > 0) if trained else np.zeros(0)

        def tensor(values: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(values.astype(np.int64)).to(device, non_blocking=True)

        return cls(
            ids=tensor(np.concatenate(ids))[None],
            positions=tensor(positions)[None],
            types=tensor(np.concatenate(types))[None] if types else None,
            segments=_slices(counts),
            rows=_slices([len(each) for each in lengths]),
            widths=tuple(int(each.max()) for each in lengths),
            kept=tuple(tensor(found) if (found := _kept(each)) is not None else None for each in lengths),
            places=tensor(np.where(mask, firsts[:, None] + steps, firsts[:, None])),
            mask=tensor(mask),
            flat=tensor(np.flatnonzero(mask)),
            predicted=tensor(np.flatnonzero(predicted)),
        )

    @property
    def padded(self) -> bool:
        """True if some row is shorter than the longest."""
        return self.flat.numel() < self.mask.numel()

    def visible(self, causal: bool, window: int | None = None) -> Tensor | None:
        """Return the mask (N, 1, 1 or L, L), True where a query may attend to a key; None if it always may.

        Args:
            causal: whether a query attends to no later key.
            window: number of last keys that a causal query attends to, its own included; None: all.
        """
        if not causal:
            return self.mask.bool()[:, None, None, :] if self.padded else None
        length = self.mask.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=self.mask.device).tril()
        if window is not None:
            before = before.triu(1 - window)
        return self.mask.bool()[:, None, None, :] & before

    def row_of(self, tokens: Tensor) -> Tensor:
        """Return the rows (p,) of tokens, by their indices (p,) in the pass."""
        return self.flat[tokens] // self.mask.shape[1]

    def by_row(self, tokens: Tensor) -> Tensor:
        """Pad tokens (T, ...) to rows (N, L, ...); the consumer must pass no gradient to the padding."""
        chosen = tokens
        if self.padded:
            chosen = Pad.apply(tokens, self.places.view(-1), self.flat)  # type: ignore[no-untyped-call]  # torch's own
        return chosen.view(*self.places.shape, *tokens.shape[1:])

    def tokens(self, by_row: Tensor) -> Tensor:
        """Extract the tokens (T, ...) from rows (N, L, ...)."""
        joined = by_row.flatten(0, 1)
        if not self.padded:
            return joined
        chosen: Tensor = Unpad.apply(joined, self.flat)  # type: ignore[no-untyped-call]  # torch's own
        return chosen


class Pad(torch.autograd.Function):
    """Gather tokens at `places`. Each token is once at its index in `flat`; other copies are padding without gradient.

    The gradients of this function and of `Unpad` are therefore gathers or copies; those of general indexing are
    accumulated one by one.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, places: Tensor, flat: Tensor) -> Tensor:
        """Gather (N * L, ...) from (T, ...)."""
        ctx.save_for_backward(flat)
        return tokens.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Gather the gradients at `flat`."""
        (flat,) = ctx.saved_tensors
        return gradient.index_select(0, flat), None, None


class Unpad(torch.autograd.Function):
    """Gather the elements at `flat`."""

    @staticmethod
    def forward(ctx: Any, by_row: Tensor, flat: Tensor) -> Tensor:
        """Gather (T, ...) from (N * L, ...)."""
        ctx.save_for_backward(flat)
        ctx.places = len(by_row)
        return by_row.index_select(0, flat)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Scatter the gradients back; padding gets 0."""
        (flat,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.places, *gradient.shape[1:]).index_copy_(0, flat, gradient), None


def _taken(values: npt.NDArray[Any], examples: Examples, rows: Rows) -> npt.NDArray[Any]:
    """Concatenate the values of the tokens of some rows."""
    offsets = examples.tokens.offsets
    return np.concatenate([values[offsets[row] : offsets[row + 1]] for row in rows])


def _kept(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Return the indices of the tokens in a flattened padded batch; None if it has no padding."""
    mask = np.arange(lengths.max()) < lengths[:, None]
    return None if mask.all() else np.flatnonzero(mask)


def _slices(counts: Sequence[int]) -> tuple[slice, ...]:
    """Return consecutive slices of these lengths."""
    ends = np.cumsum(counts).tolist()
    return tuple(slice(end - count, end) for end, count in zip(ends, counts, strict=True))
