"""A loaded retrieval data set: queries, a collection of passages, and which of them are relevant. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset, Split

Relevant = tuple[tuple[int, float], ...]  # passages that are relevant to a query, and their gains above 0


@dataclass(frozen=True)
class QuerySplit(Split):
    """A split of queries: `texts` are the queries, and targets (n,) the `Relevant` of each.

    Attributes:
        negatives: of each query, passages that are known to be irrelevant.
    """

    negatives: tuple[tuple[int, ...], ...] = ()

    def take(self, rows: npt.NDArray[np.int64], name: str) -> QuerySplit:
        """Return a split of some rows, under another name."""
        return query_split(
            name, [self.texts[row] for row in rows], [self.targets[row] for row in rows],
            [self.negatives[row] for row in rows], self.ids[rows], None if self.groups is None else self.groups[rows],
        )  # fmt: skip


def query_split(
    name: str,
    queries: Sequence[str],
    relevant: Sequence[Relevant],
    negatives: Sequence[Sequence[int]],
    ids: npt.NDArray[np.int64],
    groups: npt.NDArray[Any] | None = None,
) -> QuerySplit:
    """Make a split of n queries."""
    targets = np.empty(len(queries), dtype=object)
    for place, each in enumerate(relevant):
        targets[place] = tuple(each)
    return QuerySplit(
        name=name, texts=list(queries), pairs=None, targets=targets, ids=ids, groups=groups,
        negatives=tuple(tuple(each) for each in negatives),
    )  # fmt: skip


def collection_of(passages: Sequence[str]) -> Split:
    """Return the passages as a split, for tokenization."""
    places = np.arange(len(passages))
    return Split("passages", list(passages), None, places, places)


@dataclass(frozen=True, kw_only=True)
class RetrievalData(Dataset):
    """A data set of queries and passages.

    Attributes:
        passages: the P texts of the collection.
        names: P names by which the source knows them; () if it has none.
        counts: (P,) training queries to which each passage is relevant.
        hard_negatives: most negatives of a query that join a batch of training.
    """

    family: ClassVar[str] = "retrieval"

    passages: tuple[str, ...]
    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    hard_negatives: int

    @property
    def most_relevant(self) -> int:
        """The largest number of passages that are relevant to a query of any split."""
        folds = [part for fold in self.folds for part in fold]
        splits = [part for part in (self.train, self.validation, self.test, *folds) if part is not None]
        return max((len(row) for part in splits for row in part.targets), default=1)
