"""Histories of users as batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.data.dataset import Split
from harness.data.examples import Batch, Examples, Rows
from harness.data.tokenization import Tokens
from harness.models.recommenders.history_network import HistoryBatch
from harness.tasks.recommendation.data import HistorySplit

FORMAT = 1  # increased when rows become other tokens


@dataclass(frozen=True)
class HistoryExamples(Examples):
    """Rows whose tokens are the items of a history, the earliest first."""

    @property
    def rowwise(self) -> bool:
        """No: a row has a target for each item but the first."""
        return False

    def weight(self, rows: Rows) -> int:
        """Return the number of items that follow others: each has the same weight in the loss of a step."""
        return max(int((self.tokens.lengths[rows] - 1).sum()), 1)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows, padded on the left, so that the last item is in the last column."""
        lengths = self.tokens.lengths[rows]
        longest = int(lengths.max())
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.arange(longest) >= longest - lengths[:, None]
        ids[mask] = np.concatenate([self.history(int(row)) for row in rows])
        return HistoryBatch(
            input_ids=torch.from_numpy(ids).to(device, non_blocking=True),
            attention_mask=torch.from_numpy(mask.astype(np.int64)).to(device, non_blocking=True),
        )

    def history(self, row: int) -> npt.NDArray[np.int64]:
        """Return the items of a row."""
        return np.asarray(self.tokens.ids[self.tokens.offsets[row] : self.tokens.offsets[row + 1]], dtype=np.int64)

    def digest(self) -> str:
        """Return the SHA-256 of the histories."""
        return hashlib.sha256(f"histories {FORMAT} ".encode() + super().digest().encode()).hexdigest()


def encode(split: Split) -> Tokens:
    """Return the histories of a split as tokens; none is cut."""
    assert isinstance(split, HistorySplit)
    return joined_tokens(split.histories)


def joined_tokens(histories: Sequence[npt.NDArray[np.int64]]) -> Tokens:
    """Return histories as tokens."""
    offsets = np.cumsum([0, *map(len, histories)], dtype=np.int64)
    ids = np.concatenate(histories) if len(histories) else np.zeros(0, dtype=np.int64)
    return Tokens(ids=ids.astype(np.int32), offsets=offsets, types=None, truncated=0)
