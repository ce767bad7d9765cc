"""The output of tasks and input of training: splits of examples with their targets, and facts about them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from harness.errors import Problems


@dataclass(frozen=True)
class Split:
    """The examples of one split of a data set.

    Attributes:
        name: `train`, `validation` or `test` (folds: `train0`, `validation0`, ...).
        texts: n texts.
        pairs: n second texts, or None for a task on single texts.
        targets: (n,) what is to be predicted: int64 class indices or float64 numbers, as the task's family says;
            -1 for a row of no class.
        ids: (n,) int64 row numbers in the source, counted from 0; unique within a data set's source file.
        augmentation: digest of the augmented copies, which follow the rows and share their ids; "" without copies.
        groups: (n,) the group of each row, copies aside (`task.group`); None if the task names none.
    """

    name: str
    texts: list[str]
    pairs: list[str] | None
    targets: npt.NDArray[Any]
    ids: npt.NDArray[np.int64]
    augmentation: str = ""
    groups: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def text_digest(self) -> str:
        """Hex digest of the texts, in the order of the ids: whether two splits have the same texts on the same rows."""
        content = [[self.texts[row], None if self.pairs is None else self.pairs[row]] for row in np.argsort(self.ids)]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]

    def take(self, rows: npt.NDArray[np.int64], name: str) -> Split:
        """Return a split of some rows, under another name."""
        pairs = None if self.pairs is None else [self.pairs[row] for row in rows]
        groups = None if self.groups is None else self.groups[rows]
        texts = [self.texts[row] for row in rows]
        return Split(name, texts, pairs, self.targets[rows], self.ids[rows], groups=groups)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A loaded, checked and split data set. Families derive their own, with what only they know.

    Attributes:
        family: name of its family.
        outputs: number of values that a model's head returns for a row.
        train: the training split.
        validation: the split for model selection; None with `kfold`, which uses `folds`.
        test: the test split, used only by confirmation and single runs.
        folds: (train, validation) pairs within the training rows; empty unless `task.validation=kfold`.
        outside: rows that belong to no class, the splits `validation_outside` and `test_outside`; none by default.
        fingerprint: hex digest of all of the above: rows, order, split membership, and what the family adds.
        facts: counts and other statistics, JSON-able; stored under `data` in every record.
        warnings: sentences for the user; also stored.
    """

    family: ClassVar[str]
    outputs: int
    train: Split
    validation: Split | None
    test: Split
    folds: tuple[tuple[Split, Split], ...]
    fingerprint: str
    outside: tuple[Split, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """True if a row has two texts."""
        return self.train.pairs is not None

    def check_model(self, name: str, directory: Path, problems: Problems) -> None:
        """Report why a model cannot be used with this data, from its files; nothing by default.

        Args:
            name: of the model, for messages.
            directory: with its files.
            problems: added to.
        """

    def with_examples(self, rows: Split) -> Self:
        """Return the data with some training rows as examples in every prompt; only for families that write texts."""
        raise NotImplementedError

    def needed(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the rows without which a part of a split would be no data set of the same kind; none by default."""
        return np.zeros(0, dtype=np.int64)

    def sample(self, train_rows: int, evaluated_rows: int) -> Self:
        """Return evenly spread rows of each split, or of one fold if there are any; all rows `needed` are among them.

        Args:
            train_rows, evaluated_rows: number of training rows, and of validation and test rows, if there are as many.
        """
        train, validation = self.folds[0] if self.folds else (self.train, self.validation or self.test)
        first = self.needed(train)
        others = np.setdiff1d(np.arange(len(train)), first)
        spread = others[np.linspace(0, len(others) - 1, max(0, min(len(others), train_rows - len(first)))).astype(int)]
        rows = np.sort(np.unique(np.concatenate([first, spread])))
        return replace(
            self,
            train=train.take(rows, "sample-train"),
            validation=validation.take(_spread(validation, evaluated_rows), "sample-validation"),
            test=self.test.take(_spread(self.test, evaluated_rows), "sample-test"),
            folds=(),
            fingerprint=f"sample-{train_rows}-{evaluated_rows}-{self.fingerprint}",
        )


def _spread(split: Split, rows: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, len(split) - 1, min(len(split), rows)).astype(np.int64)
