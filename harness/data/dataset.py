"""What every task hands to training: splits of examples, their labels, and facts counted about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Split:
    """Examples of one part of a data set.

    Attributes:
        name: `train`, `validation` or `test` (folds: `train0`, `validation0`, ...).
        texts: n texts.
        pairs: n second texts, or None for a task over single texts.
        labels: (n,) int64 class indices.
        ids: (n,) int64 row numbers in the source, counted from 0; unique within a data set's source file.
        augmentation: digest of copies that lie behind the rows, each with its row's id; "" without any.
    """

    name: str
    texts: list[str]
    pairs: list[str] | None
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    augmentation: str = ""

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """A loaded, checked and split text classification data set.

    Attributes:
        labels: the C class names, in the order of the class indices. For a binary task the last one is the
            positive class.
        descriptions: a plain-language description a class (zero_shot compares texts with these).
        train: the rows that a run trains on.
        validation: the rows that choose; None with `kfold`, where `folds` choose.
        test: the rows that only a confirmation or a single run meets.
        folds: (train, validation) pairs within the shots; empty unless `task.validation=kfold`.
        fingerprint: hex digest of everything above: rows, order, split membership, labels, descriptions.
        facts: counted and shown, JSON-able; recorded under `data` in every record.
        warnings: sentences for the user; also recorded.
    """

    labels: tuple[str, ...]
    descriptions: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split
    folds: tuple[tuple[Split, Split], ...]
    fingerprint: str
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
