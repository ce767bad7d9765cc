"""The output of tasks and input of training: splits of examples with labels, and facts about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Split:
    """The examples of one split of a data set.

    Attributes:
        name: `train`, `validation` or `test` (folds: `train0`, `validation0`, ...).
        texts: n texts.
        pairs: n second texts, or None for a task on single texts.
        labels: (n,) int64 class indices.
        ids: (n,) int64 row numbers in the source, counted from 0; unique within a data set's source file.
        augmentation: digest of the augmented copies, which follow the rows and share their ids; "" without copies.
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
        labels: the C class names, in the order of the class indices. In a binary task the last one is the positive
            class.
        descriptions: one plain-language description per class, with which zero_shot compares texts.
        train: the training split.
        validation: the split for model selection; None with `kfold`, which uses `folds`.
        test: the test split, used only by confirmation and single runs.
        folds: (train, validation) pairs within the shots; empty unless `task.validation=kfold`.
        fingerprint: hex digest of all of the above: rows, order, split membership, labels, descriptions.
        facts: counts and other statistics, JSON-able; stored under `data` in every record.
        warnings: sentences for the user; also stored.
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
