"""A loaded recommendation data set: histories of users, and the items that follow. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset, Split

Items = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HistorySplit(Split):
    """A split with a row for each user: `texts` are the users' names, and targets (n,) tuples of item indices.

    The targets of evaluated rows are the items that follow the history, in any order. Those of training rows are the
    items that follow each position of the history but the last.

    Attributes:
        histories: of each row, the items before its targets, the earliest first.
    """

    histories: tuple[Items, ...] = ()

    def take(self, rows: npt.NDArray[np.int64], name: str) -> HistorySplit:
        """Return a split of some rows, under another name."""
        return history_split(
            name, [self.texts[row] for row in rows], [self.histories[row] for row in rows],
            [self.targets[row] for row in rows], self.ids[rows],
        )  # fmt: skip


def as_objects(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.object_]:
    """Return tuples of items as an array (n,) of objects."""
    found = np.empty(len(rows), dtype=object)
    for place, each in enumerate(rows):
        found[place] = tuple(int(item) for item in each)
    return found


def following(histories: Sequence[Items]) -> npt.NDArray[np.object_]:
    """Return the items that follow each position of the histories but their last ones."""
    return as_objects([each[1:].tolist() for each in histories])


def history_split(
    name: str,
    users: Sequence[str],
    histories: Sequence[Items],
    targets: Sequence[Sequence[int]],
    ids: npt.NDArray[np.int64],
) -> HistorySplit:
    """Make a split of n users."""
    return HistorySplit(
        name=name, texts=list(users), pairs=None, targets=as_objects(targets), ids=ids,
        histories=tuple(np.asarray(each, dtype=np.int64) for each in histories),
    )  # fmt: skip


def training_split(users: Sequence[str], histories: Sequence[Items], ids: npt.NDArray[np.int64]) -> HistorySplit:
    """Make the training split of users with the histories that are trained on."""
    return history_split("train", users, histories, following(histories).tolist(), ids)


@dataclass(frozen=True, kw_only=True)
class RecommendationData(Dataset):
    """A data set of interactions.

    Attributes:
        items: names of the I items, in the order of the outputs.
        titles: a text for each item, or () without any.
        counts: (I,) training users of each item; 0 for a cold one.
        users: number of training users.
        keep_users: whether saved models know the histories of users.
        known: all items of each user, the earliest first.
    """

    family: ClassVar[str] = "recommendation"

    items: tuple[str, ...]
    titles: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    users: int
    keep_users: bool
    known: Mapping[str, npt.NDArray[np.int64]]
