"""Settings of retrieval tasks, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.api.metric import Metric
from harness.data.text_values import shown, truth
from harness.errors import Problems
from harness.tasks.retrieval.metrics import METRICS
from harness.tasks.text_settings import TextSettings


@dataclass(kw_only=True)
class RetrievalSettings(TextSettings):
    """Settings of queries and passages."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    validations: ClassVar[tuple[str, ...]] = ("split", "pool", "kfold")

    metric: str = "ndcg_at_10"
    shots: int | None = None  # most training queries of each passage; null: all
    pool_per_passage: int = 20  # most validation queries of a passage, for pool
    hard_negatives: int = 1  # most negatives of a query that join a batch of training
    passages_in_words: bool = False  # passages are names, such as classes, and are read as words

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.passages_in_words = truth(self.passages_in_words)

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        return super().least_values() | {"pool_per_passage": 1, "hard_negatives": 0}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        problems.check(
            isinstance(self.passages_in_words, bool),
            f"task.passages_in_words must be true or false, not {shown(self.passages_in_words)}.",
        )
        problems.check(
            self.validation != "pool" or self.shots is not None,
            "task.validation=pool takes queries beyond the shots: set task.shots, or task.validation=split.",
        )

    def too_many_folds(self) -> str:
        """Return the message for more folds than shots."""
        return (
            f"task.folds={self.folds} exceeds task.shots={self.shots}: a fold may have no query of a passage. Set "
            f"task.folds to at most {self.shots}, or task.validation=pool."
        )
