"""Tokenized sentences as batches: one sequence a window."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.data.examples import STATES, Batch, Examples, Rows
from harness.models.language.token_network import TokenBatch
from harness.tasks.token_tagging.data import Sentence
from harness.tasks.token_tagging.encoding import BEGINS, PREDICTED


@dataclass(frozen=True)
class TagExamples(Examples):
    """Rows of words, of which each has one output.

    Attributes:
        sentences: the n rows.
    """

    sentences: tuple[Sentence, ...] = ()

    @property
    def rowwise(self) -> bool:
        """No: a row may have several windows, and has a target for each word."""
        return False

    @cached_property
    def output_offsets(self) -> npt.NDArray[np.int64]:
        """Return where the outputs of each row begin, and their number last: (n + 1,)."""
        return np.cumsum([0, *(len(sentence.words) for sentence in self.sentences)])

    @cached_property
    def windows(self) -> npt.NDArray[np.int64]:
        """Return the number of windows of each row: (n,)."""
        assert self.tokens.trained is not None
        sums = np.concatenate([[0], np.cumsum(self.tokens.trained & BEGINS > 0)])
        return np.diff(sums[self.tokens.offsets])

    def weight(self, rows: Rows) -> int:
        """Return the number of words: each has the same weight in the loss of a step."""
        return sum(len(self.sentences[row].words) for row in rows)

    def digest(self) -> str:
        """Return the SHA-256 of the tokens and of their marks."""
        assert self.tokens.trained is not None
        return hashlib.sha256(f"{super().digest()} ".encode() + self.tokens.trained.tobytes()).hexdigest()

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the windows of the given rows, in order, as a batch that is padded on the right."""
        assert self.tokens.trained is not None
        pieces = [np.arange(self.tokens.offsets[row], self.tokens.offsets[row + 1]) for row in rows]
        taken = np.concatenate(pieces)
        marks = np.asarray(self.tokens.trained[taken])
        begins = np.flatnonzero(marks & BEGINS)
        lengths = np.diff([*begins, len(taken)])
        mask = np.arange(lengths.max()) < lengths[:, None]
        batch = TokenBatch(
            input_ids=_filled(mask, self.tokens.ids[taken], self.padding, device),
            attention_mask=torch.from_numpy(mask.astype(np.int64)).to(device, non_blocking=True),
        )
        batch.predicted = _filled(mask, marks & PREDICTED, 0, device)
        if self.states is not None:
            states = np.zeros((*mask.shape, self.states.shape[1]), dtype=np.float32)
            states[mask] = self.states[taken]
            batch[STATES] = torch.from_numpy(states).to(device, non_blocking=True)
        return batch


def _filled(mask: npt.NDArray[np.bool_], values: npt.NDArray[Any], padding: int, device: torch.device) -> torch.Tensor:
    found = np.full(mask.shape, padding, dtype=np.int64)
    found[mask] = values
    return torch.from_numpy(found).to(device, non_blocking=True)
