"""Batches of queries, and of the passages that training compares them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.data.examples import Batch, Examples, Rows
from harness.models.retrieval.retrieval_network import PairedBatch


@dataclass(frozen=True)
class RetrievalExamples(Examples):
    """Tokenized queries.

    Attributes:
        texts: the queries, for an index of words.
        negatives: of each query, passages that are known to be irrelevant.
        hard_negatives: most of them that join a batch, drawn anew for each.
        passages: the tokenized collection; None where it is not needed, as in serving.
    """

    texts: Sequence[str] = ()
    negatives: tuple[tuple[int, ...], ...] = ()
    hard_negatives: int = 0
    passages: Examples | None = None

    @property
    def rowwise(self) -> bool:
        """No: passages are those of all queries."""
        return False

    def training_batch(self, rows: Rows, device: torch.device, targets: Tensor) -> tuple[Batch, Tensor]:
        """Return queries with passages, and of each query the place of the wanted one among these.

        A query has one wanted passage, drawn from the relevant ones. All passages of the batch are negatives of each
        other's queries, except those that are relevant.

        Args:
            rows: (b,) indices.
            device: of the tensors.
            targets: not used.
        """
        assert self.passages is not None
        wanted = [_drawn([place for place, _ in self.targets[row]], 1)[0] for row in rows]
        hard = [place for row in rows for place in _drawn(self.negatives[row], self.hard_negatives)]
        chosen = np.unique(np.array([*wanted, *hard], dtype=np.int64))
        column = {place: number for number, place in enumerate(chosen.tolist())}
        masked = torch.zeros(len(rows), len(chosen), dtype=torch.bool)
        for number, row in enumerate(rows):
            for place, _ in self.targets[row]:
                if place in column and place != wanted[number]:
                    masked[number, column[place]] = True
        batch = PairedBatch(self.batch(rows, device))
        batch.passages = self.passages.batch(chosen, device)
        batch.masked = masked.to(device)
        return batch, torch.tensor([column[place] for place in wanted], device=device)


def _drawn(places: Sequence[int], most: int) -> list[int]:
    """Draw up to some of the places from torch's generator; nothing is drawn where all are taken."""
    if len(places) <= most:
        return list(places)
    return [places[number] for number in torch.randperm(len(places))[:most].tolist()]
