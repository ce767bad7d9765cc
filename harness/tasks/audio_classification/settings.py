"""Settings common to all audio classification tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from harness.errors import HarnessError, Problems
from harness.tasks.audio_classification.assembly import assemble_sounds
from harness.tasks.audio_classification.data import SoundData
from harness.tasks.labeled_files import UNREADABLE, LabeledFiles
from harness.tasks.text_classification.settings import ClassificationSettings
from harness.tasks.text_settings import TextSettings

MOST_SECONDS = 600.0  # of a sound that is classified as a whole


@dataclass(kw_only=True)
class SoundTask(ClassificationSettings):
    """An audio classification task. Subclasses define the source of its rows."""

    unit: ClassVar[str] = "sound"

    max_length: int = field(default=TextSettings.max_length, init=False)  # of texts; `max_seconds` in its place
    max_seconds: float = 10.0  # of longer sounds, what follows is left out
    unreadable: str = "error"  # error | skip: what is done with sounds that cannot be read

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        problems.check(
            self.unreadable in UNREADABLE,
            f"task.unreadable must be error or skip (leave such sounds out), not {self.unreadable}.",
        )
        value = self.max_seconds
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        problems.check(
            number and 0.05 <= value <= MOST_SECONDS,
            f"task.max_seconds is a number of seconds from 0.05 to {MOST_SECONDS:g}, not {value}. Of longer sounds, "
            "what follows is left out.",
        )

    def load(self) -> SoundData:
        """Read, check and split the sounds. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        try:
            tables, source = self.tables()
        except OSError as error:
            raise HarnessError(f"The sounds of task {self.name} cannot be read: {error}.") from None
        skip = self.unreadable == "skip"
        return assemble_sounds(self, tables, source, self.names_of_labels(), skip, float(self.max_seconds))

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """Return the sounds by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: they are not available.
        """
        raise NotImplementedError

    def names_of_labels(self) -> dict[str, str]:
        """Return {raw label: name of the class}; empty where raw labels are the names."""
        return {}
