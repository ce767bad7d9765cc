"""Tokenized conversations as batches for training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.data.examples import Batch, Examples, Rows
from harness.models.language.language_model import IGNORED
from harness.models.language.packing import bins, positions
from harness.tasks.text_generation.data import GenerationSplit
from harness.tasks.text_generation.encoding import RowEncoder


@dataclass(frozen=True)
class SequenceExamples(Examples):
    """Sequences of prompt and completion.

    Attributes:
        encoder: tokenized them.
        split: their rows.
        scored: whether the likelihood of the references is computed in predictions.
        written: whether predictions hold texts.
        packed: most tokens of a sequence to which the rows of a batch are joined; None: each row is a sequence.
    """

    encoder: RowEncoder | None = None
    split: GenerationSplit | None = None
    scored: bool = True
    written: bool = False
    packed: int | None = None

    @property
    def rowwise(self) -> bool:
        """Whether a sequence is a row: not where rows are joined."""
        return self.packed is None

    @cached_property
    def trained(self) -> npt.NDArray[np.int64]:
        """Return the number of trained tokens per row: (n,). The first token of a decoder is never predicted."""
        assert self.tokens.trained is not None
        sums = np.concatenate([[0], np.cumsum(self.tokens.trained, dtype=np.int64)])
        found: npt.NDArray[np.int64] = np.diff(sums[self.tokens.offsets])
        if not self._pairs:
            starts = self.tokens.offsets[:-1][self.tokens.lengths > 0]
            found[self.tokens.lengths > 0] -= self.tokens.trained[starts]
        return found

    def weight(self, rows: Rows) -> int:
        """Return the number of trained tokens: each has the same weight in the loss of a step."""
        return int(self.trained[rows].sum())

    def digest(self) -> str:
        """Return the SHA-256 of the tokens and of what is trained."""
        raise NotImplementedError  # of inputs for frozen features, which these models do not give

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows as a batch with `labels`, padded on the right.

        Joined rows have `position_ids` in place of an attention mask.
        """
        assert self.tokens.trained is not None
        pieces = [slice(self.tokens.offsets[row], self.tokens.offsets[row + 1]) for row in rows]
        ids, marks = [self.tokens.ids[piece] for piece in pieces], [self.tokens.trained[piece] for piece in pieces]
        if self._pairs:
            inputs = [row[mark == 0] for row, mark in zip(ids, marks, strict=True)]
            labels = [row[mark == 1] for row, mark in zip(ids, marks, strict=True)]
        else:
            inputs = ids
            labels = [np.where(mark == 1, row, IGNORED) for row, mark in zip(ids, marks, strict=True)]
        if self.packed is not None:
            return _on(device, self._joined(ids, labels, self.packed))
        batch = {
            "input_ids": padded(inputs, self.padding),
            "attention_mask": padded([np.ones(len(row), dtype=np.int64) for row in inputs], 0),
            "labels": padded(labels, IGNORED),
        }
        return _on(device, batch)

    def _joined(
        self, ids: list[npt.NDArray[Any]], labels: list[npt.NDArray[Any]], capacity: int
    ) -> dict[str, npt.NDArray[np.int64]]:
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        sequences = bins(lengths, capacity)
        # The first token of a row would be predicted from the row before it.
        begun = [np.concatenate([[IGNORED], row[1:]]) for row in labels]
        return {
            "input_ids": padded([np.concatenate([ids[row] for row in rows]) for rows in sequences], self.padding),
            # Padding is at position 0 each, so it is a row of its own, which nothing sees.
            "position_ids": padded([positions(lengths[rows].tolist()) for rows in sequences], 0),
            "labels": padded([np.concatenate([begun[row] for row in rows]) for rows in sequences], IGNORED),
        }

    @property
    def _pairs(self) -> bool:
        return self.encoder is not None and self.encoder.encoder_decoder


def _on(device: torch.device, batch: dict[str, npt.NDArray[np.int64]]) -> Batch:
    return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in batch.items()}


def padded(rows: list[npt.NDArray[Any]], value: int) -> npt.NDArray[np.int64]:
    """Return rows of different lengths as one array, padded on the right."""
    found = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for place, row in zip(found, rows, strict=True):
        place[: len(row)] = row
    return found
