"""Settings common to all speech recognition tasks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.api.metric import Metric
from harness.data.text_values import as_text, check_text
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.labeled_files import UNREADABLE, LabeledFiles
from harness.tasks.speech_recognition.assembly import assemble_speech
from harness.tasks.speech_recognition.data import Speech, SpeechData
from harness.tasks.speech_recognition.metrics import METRICS
from harness.tasks.speech_recognition.normalizers import NORMALIZERS
from harness.tasks.text_settings import TextSettings

LONGEST_WINDOW = 600.0  # seconds, of models without a limit of their own


@dataclass(kw_only=True)
class SpeechSettings(TextSettings):
    """A speech recognition task. Subclasses define the source of its rows."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    metric: str = "wer"
    normalize: str = "basic"  # how texts are made comparable: none | basic | digits, see `NORMALIZERS`
    window: float = 30.0  # seconds: longer sounds are an error, and Whisper's are padded to it
    language: str | None = None  # of a multilingual Whisper, such as en
    unreadable: str = "error"  # error | skip: what is done with sounds that cannot be read
    validation_rows: int | None = None  # most validation sounds, drawn by split_seed; null: all
    test_rows: int | None = None  # most test sounds, likewise

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types, such as the language `no`."""
        super().__post_init__()
        given: Any = self.language
        self.language = "no" if given is False else as_text(given)
        self.normalize = "none" if self.normalize is None else self.normalize

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        problems.check(
            self.unreadable in UNREADABLE,
            f"task.unreadable must be error or skip (leave such sounds out), not {self.unreadable}.",
        )
        if check_text(problems, "task.normalize", self.normalize, f"one of {', '.join(NORMALIZERS)}"):
            problems.check(
                self.normalize in NORMALIZERS,
                f"Unknown task.normalize {self.normalize}. {nearest(self.normalize, NORMALIZERS)}",
            )
        if check_text(problems, "task.language", self.language, "the code of a language, such as en", optional=True):
            problems.check(
                self.language is None or re.fullmatch(r"[a-z]{2,3}", self.language) is not None,
                f"task.language is the code of a language in two or three small letters, such as en, not "
                f"{self.language!r}.",
            )
        value = self.window
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        problems.check(
            number and 0.5 <= value <= LONGEST_WINDOW,
            f"task.window is a number of seconds from 0.5 to {LONGEST_WINDOW:g}, not {value!r}: no sound may be "
            "longer.",
        )
        for name in ("validation_rows", "test_rows"):
            value = getattr(self, name)
            holds = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 2)
            problems.check(holds, f"task.{name} must be a whole number, 2 or more, or null, not {value!r}.")

    def load(self) -> SpeechData:
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
        speech = Speech(float(self.window), self.normalize, self.language, self.max_length, self.metric)
        limits = {"validation": self.validation_rows, "test": self.test_rows}
        return assemble_speech(self, tables, source, speech, limits, self.unreadable == "skip")

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """Return sounds with transcripts by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: they are not available.
        """
        raise NotImplementedError
