"""Settings common to all text classification tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.api.metric import Metric
from harness.data.text_values import as_text, check_mapping, check_text
from harness.errors import Problems
from harness.tasks.text_classification.metrics import METRICS
from harness.tasks.text_settings import TextSettings


@dataclass(kw_only=True)
class ClassificationSettings(TextSettings):
    """Settings of classes, and how validation rows of each class are made."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    validations: ClassVar[tuple[str, ...]] = ("split", "pool", "kfold")
    unit: ClassVar[str] = "text"  # what a row is, in messages

    metric: str = "accuracy"
    positive: str | None = None  # the positive one of two classes; null: the last by name
    descriptions: Mapping[str, str] | None = None  # label: text for zero_shot; null: the label as words
    oos_label: Any = None  # a label, or a list of some, whose rows are out of scope: no class; null: none
    pool_per_class: int = 20  # maximum number of validation rows per class, for pool

    def __post_init__(self) -> None:
        """Convert numbers back to the text that was typed; a boolean `positive` is a label of the data."""
        super().__post_init__()
        self.positive = as_text(self.positive)

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        return super().least_values() | {"pool_per_class": 1}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        if not isinstance(self.positive, bool):  # a boolean is a label, which only the data can resolve
            check_text(problems, "task.positive", self.positive, "the name of a class", optional=True)
        if self.oos_label is not None:
            several = self.oos_label if isinstance(self.oos_label, list | tuple) else [self.oos_label]
            problems.check(
                bool(several) and all(isinstance(each, str | int | float) for each in several),
                f"task.oos_label must be a label of the rows, or a list of some, not {self.oos_label!r}.",
            )
        check_mapping(problems, "task.descriptions", self.descriptions, "a text for the class", null=True)
        if self.validation == "pool" and self.shots is None:
            problems.add("task.validation=pool takes rows beyond the shots: set task.shots, or task.validation=split.")

    def too_many_folds(self) -> str:
        """Return the message for more folds than shots."""
        return (
            f"task.folds={self.folds} exceeds task.shots={self.shots}: every fold needs a shot of every class. Set "
            f"task.folds to at most {self.shots}, or task.validation=pool."
        )
