"""Settings common to all text tasks: name, metric, splits and lengths, and their checks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from harness.api.metric import Metric
from harness.data.text_values import check_text, plain
from harness.errors import Problems, nearest

TEXTS = (
    "name", "metric", "validation", "path", "validation_path", "test_path", "folder", "format", "encoding", "separator",
)  # fmt: skip  # optional string fields


@dataclass(kw_only=True)
class TextSettings:
    """Settings of splits and few-shot rows.

    Attributes:
        metrics: of the task's family, by name.
        validations: how validation rows can be made.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {}
    validations: ClassVar[tuple[str, ...]] = ("split", "kfold")

    name: str  # of the task, in tables and directories
    metric: str  # the metric that selects, one of the family's
    shots: int | None = None  # training rows that are kept: of each class, or of all rows where there are no classes
    draw: int = 0  # seed of the shots (and pool, and folds), independent of a run's seed
    validation: str | None = None  # one of `validations`; null: the family's default
    folds: int = 5  # number of folds, for kfold
    validation_fraction: float = 0.15  # of the training rows, if a validation split must be made
    test_fraction: float = 0.2  # of all rows, if a test split must be made
    split_seed: int = 0  # seed of these splits
    max_length: int = 128  # tokens per text (or pair); longer inputs are truncated and counted

    def __post_init__(self) -> None:
        """Convert numbers back to the text that was typed."""
        for name in TEXTS:
            if hasattr(self, name):
                setattr(self, name, plain(getattr(self, name)))

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        return {"shots": 1, "draw": 0, "folds": 2, "split_seed": 0, "max_length": 3}

    def known_metrics(self) -> Collection[str]:
        """Return the names that `metric` takes."""
        return self.metrics

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        check_text(problems, "task.name", self.name, "the name of the task in tables")
        if check_text(problems, "task.metric", self.metric, "the name of a metric"):
            known = self.known_metrics()
            problems.check(self.metric in known, f"Unknown task.metric {self.metric}. {nearest(self.metric, known)}")
        for name, least in self.least_values().items():
            value = getattr(self, name)
            if value is not None or name != "shots":
                holds = isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**32
                bound = "below 2**32" if isinstance(value, int) and value >= 2**32 else f"{least} or more"
                problems.check(holds, f"task.{name} must be a whole number, {bound}, not {value!r}.")
        for name in ("validation_fraction", "test_fraction"):
            value = getattr(self, name)
            holds = isinstance(value, int | float) and 0 < value < 1
            problems.check(holds, f"task.{name} must lie between 0 and 1, both excluded, not {value!r}.")
        problems.check(
            self.validation is None or (isinstance(self.validation, str) and self.validation in self.validations),
            f"task.validation must be one of {', '.join(self.validations)} or null, not {self.validation!r}.",
        )
        whole = isinstance(self.shots, int) and isinstance(self.folds, int)
        if self.validation == "kfold" and whole and self.folds > cast(int, self.shots):
            problems.add(self.too_many_folds())

    def too_many_folds(self) -> str:
        """Return the message for more folds than shots."""
        return (
            f"task.folds={self.folds} exceeds task.shots={self.shots}: every fold needs a row. Set task.folds to at "
            f"most {self.shots}, or task.validation=split."
        )
