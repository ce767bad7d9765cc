"""Text classification tasks: binary or multi-class, on single texts or text pairs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from harness.data.text_values import check_text, shown
from harness.errors import Problems
from harness.tasks.text_classification.assembly import assemble
from harness.tasks.text_classification.data import ClassificationData
from harness.tasks.text_classification.feedback import CLASSES, KNOWN, read_feedback
from harness.tasks.text_classification.settings import ClassificationSettings
from harness.tasks.text_source import TextSource


@dataclass(kw_only=True)
class TextTask(ClassificationSettings):
    """A text classification task. Subclasses define the source of its rows."""

    feedback: str | None = None  # training rows besides: what harness serve stored, a file or the folder of a model
    feedback_classes: str = KNOWN  # known: labels that no other training row has are refused | new: they are classes

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        check_text(problems, "task.feedback", self.feedback, "a file or folder of feedback", optional=True)
        problems.check(
            self.feedback_classes in CLASSES,
            f"task.feedback_classes must be one of {', '.join(CLASSES)}, not {shown(self.feedback_classes)}.",
        )
        problems.check(
            self.feedback is None or getattr(self, "group", None) is None,
            "task.feedback has no groups, so its rows could belong to groups of test rows: leave task.group or "
            "task.feedback out.",
        )

    def load(self) -> ClassificationData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        frames, source = self.read()
        path, classes = self.feedback, self.feedback_classes
        if path is None:
            return assemble(self, frames, source)
        return assemble(
            self, frames, source, lambda pairs, labels, outside: read_feedback(path, pairs, labels, classes, outside)
        )

    def read(self) -> tuple[dict[str, pd.DataFrame], str]:
        """Return the rows (see `to_rows`) by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: the rows are not available.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class TextClassification(TextTask, TextSource):
    """Labeled texts from files or a hub data set; see `TextSource`."""

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.normalize_source()

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)

    def read(self) -> tuple[dict[str, pd.DataFrame], str]:
        """Read the given splits."""
        return self.read_source(self.name)
