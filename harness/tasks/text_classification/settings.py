"""Settings common to all text classification tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from harness.data.text_values import as_text, check_mapping, check_text, plain
from harness.errors import Problems, nearest
from harness.tasks.text_classification.metrics import METRICS

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
)  # optional string fields


@dataclass(kw_only=True)
class TextSettings:
    """Settings of splits, shots and labels, and their checks, common to all text classification tasks."""

    name: str  # of the task, in tables and directories
    metric: str = "accuracy"  # the metric that selects, one of `METRICS`
    positive: str | None = None  # the positive one of two classes; null: the last by name
    descriptions: Mapping[str, str] | None = None  # label: text for zero_shot; null: the label as words
    shots: int | None = None  # training rows kept per class; null: all
    draw: int = 0  # seed of the shots (and pool, and folds), independent of a run's seed
    validation: str | None = None  # split | pool | kfold; null: split, but pool if there are shots and no given split
    pool_per_class: int = 20  # maximum number of validation rows per class, for pool
    folds: int = 5  # number of folds, for kfold
    validation_fraction: float = 0.15  # of the training rows, if a validation split must be made
    test_fraction: float = 0.2  # of all rows, if a test split must be made
    split_seed: int = 0  # seed of these splits
    max_length: int = 128  # tokens per text (or pair); longer inputs are truncated and counted

    def __post_init__(self) -> None:
        """Convert numbers back to the text that was typed; a boolean `positive` is a label of the data."""
        for name in TEXTS:
            if hasattr(self, name):
                setattr(self, name, plain(getattr(self, name)))
        self.positive = as_text(self.positive)

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        check_text(problems, "task.name", self.name, "the name of the task in tables")
        if check_text(problems, "task.metric", self.metric, "the name of a metric"):
            problems.check(
                self.metric in METRICS, f"Unknown task.metric {self.metric}. {nearest(self.metric, METRICS)}"
            )
        if not isinstance(self.positive, bool):  # a boolean is a label, which only the data can resolve
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
