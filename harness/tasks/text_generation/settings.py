"""Settings of text generation tasks that do not depend on the source of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.api.metric import Metric
from harness.errors import Problems, nearest
from harness.tasks.text_generation.data import TRAIN_ON
from harness.tasks.text_generation.metric_table import METRICS
from harness.tasks.text_settings import TextSettings


@dataclass(kw_only=True)
class GenerationSettings(TextSettings):
    """Settings of splits, training tokens and outputs."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    metric: str = "loss"
    train_on: str = "completion"  # completion (the last turn) | assistant (each of its turns) | all
    max_length: int = 512  # tokens of prompt and completion in training; longer rows are cut at their end, and counted
    max_new_tokens: int = 64  # most tokens that are written for a row
    num_beams: int = 1  # beams of beam search; 1 is greedy
    stop: list[str] | None = None  # texts that end an output
    validation_rows: int | None = None  # most validation prompts, drawn by split_seed; null: all
    test_rows: int | None = None  # most test prompts, likewise

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        return super().least_values() | {"max_new_tokens": 1, "num_beams": 1}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name in ("validation_rows", "test_rows"):
            value = getattr(self, name)
            holds = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 2)
            problems.check(holds, f"task.{name} must be a whole number, 2 or more, or null, not {value!r}.")
        problems.check(
            self.train_on in TRAIN_ON, f"Unknown task.train_on {self.train_on}. {nearest(self.train_on, TRAIN_ON)}"
        )
        listed = self.stop is None or (isinstance(self.stop, list) and all(isinstance(s, str) and s for s in self.stop))
        problems.check(listed, f'task.stop lists texts that end an output, ["\\n"], not {self.stop!r}.')
