"""Text regression tasks: a number for each text or pair of texts, from files or a hub data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from harness.api.metric import Metric
from harness.errors import Problems
from harness.tasks.text_regression.assembly import assemble
from harness.tasks.text_regression.data import RegressionData
from harness.tasks.text_regression.metrics import METRICS
from harness.tasks.text_settings import TextSettings
from harness.tasks.text_source import TextSource


@dataclass(kw_only=True)
class RegressionTask(TextSettings):
    """A text regression task. Subclasses define the source of its rows."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    metric: str = "spearman"

    def load(self) -> RegressionData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        frames, source = self.read()
        return assemble(self, frames, source)

    def read(self) -> tuple[dict[str, pd.DataFrame], str]:
        """Return the rows (see `to_rows`) by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: the rows are not available.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class TextRegression(RegressionTask, TextSource):
    """Texts or pairs with a number each, from files or a hub data set; see `TextSource`."""

    refused: ClassVar[tuple[str, ...]] = ("label_names",)  # inherited fields without a meaning, which are not advised

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.normalize_source()

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)
        problems.check(
            self.label_names is None,
            f"task.label_names names classes, and task {self.name} predicts a number: leave it out.",
        )

    def read(self) -> tuple[dict[str, pd.DataFrame], str]:
        """Read the given splits."""
        return self.read_source(self.name)
