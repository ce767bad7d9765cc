"""The settings that all text classification tasks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from harness.data.text_values import as_text, check_mapping, check_text, plain
from harness.errors import Problems, nearest

VALIDATIONS = ("split", "pool", "kfold")
TEXTS = (
    "name",
    "metric",
    "validation",
    "path",
    "validation_path",
    "test_path",
    "folder",
    "format",
    "encoding",
    "separator",
)  # fields that hold a text where they hold something


@dataclass(kw_only=True)
class TextSettings:
    """Splits, shots, labels and their checks, which all text classification tasks share."""

    name: str  # of the task, in tables and directories
    metric: str = "accuracy"  # the metric of harness.api.metric that selects
    positive: str | None = None  # of two classes, the positive one; null: the last by name
    descriptions: Mapping[str, str] | None = None  # label: text for zero_shot; null: the labels in words
    shots: int | None = None  # training rows kept a class; null keeps all
    draw: int = 0  # which shots (and pool, and folds); a run's seed never changes them
    validation: str | None = None  # split | pool | kfold; null: split, but pool with shots where no validation is given
    pool_per_class: int = 20  # most validation rows a class with pool
    folds: int = 5  # with kfold
    validation_fraction: float = 0.15  # of the training rows, where a validation split has to be made
    test_fraction: float = 0.2  # of all rows, where a test split has to be made
    split_seed: int = 0  # of the splits that have to be made
    max_length: int = 128  # tokens a text (or pair); longer ones are truncated, which is counted

    def __post_init__(self) -> None:
        """Read numbers as the texts that were typed; a truth value of `positive` means a label of the data."""
        for name in TEXTS:
            if hasattr(self, name):
                setattr(self, name, plain(getattr(self, name)))
        self.positive = as_text(self.positive)

    def check(self, problems: Problems) -> None:
        """Note every field that breaks its rule."""
        from harness.api.metric import METRICS

        check_text(problems, "task.name", self.name, "the name of the task in tables")
        if check_text(problems, "task.metric", self.metric, "the name of a metric"):
            problems.check(
                self.metric in METRICS, f"Unknown task.metric {self.metric}. {nearest(self.metric, METRICS)}"
            )
        if not isinstance(self.positive, bool):  # a truth value means a label, which the data know
            check_text(problems, "task.positive", self.positive, "the name of a class", optional=True)
        check_mapping(problems, "task.descriptions", self.descriptions, "a text for the class", null=True)
        least_values = {"shots": 1, "draw": 0, "pool_per_class": 1, "folds": 2, "split_seed": 0, "max_length": 3}
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None or name != "shots":
                holds = isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**32
                problems.check(holds, f"task.{name} must be a whole number, {least} or more, not {value!r}.")
        for name in ("validation_fraction", "test_fraction"):
            value = getattr(self, name)
            holds = isinstance(value, int | float) and 0 < value < 1
            problems.check(holds, f"task.{name} must lie between 0 and 1, both excluded, not {value!r}.")
        problems.check(
            self.validation is None or (isinstance(self.validation, str) and self.validation in VALIDATIONS),
            f"task.validation must be one of {', '.join(VALIDATIONS)} or null, not {self.validation!r}.",
        )
        whole = isinstance(self.shots, int) and isinstance(self.folds, int)
        if self.validation == "kfold" and whole and self.folds > cast(int, self.shots):
            problems.add(
                f"task.folds={self.folds} exceeds task.shots={self.shots}: every fold needs a shot of every class. Set "
                f"task.folds to at most {self.shots}, or task.validation=pool."
            )
        if self.validation == "pool" and self.shots is None:
            problems.add("task.validation=pool takes rows beyond the shots: set task.shots, or task.validation=split.")
