"""A loaded data set of sounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.data.sounds import SoundSource
from harness.errors import Problems
from harness.models.sound_files.sound_architectures import longest_sound
from harness.tasks.text_classification.data import ClassificationData


@dataclass(frozen=True, kw_only=True)
class SoundData(ClassificationData):
    """A data set whose `texts` are digests of sounds, and whose targets are class indices.

    Attributes:
        sounds: where the sound with a digest comes from.
        names: what the sound with a digest is called: a path in the folder, or a row.
        seconds: `task.max_seconds`: of longer sounds, what follows is left out.
        longest: seconds of the longest sound, at most `seconds`.
    """

    family: ClassVar[str] = "audio_classification"

    sounds: Mapping[str, SoundSource]
    names: Mapping[str, str]
    seconds: float
    longest: float

    def check_model(self, name: str, directory: Path, problems: Problems) -> None:
        """Report that a model reads less than the longest sound."""
        most = longest_sound(directory)
        problems.check(
            most is None or self.longest <= most,
            f"model={name} reads {most or 0:g} seconds, and there are sounds of {self.longest:.1f}. Set "
            f"task.max_seconds={most or 0:g} or less, which leaves out what follows in longer sounds.",
        )
