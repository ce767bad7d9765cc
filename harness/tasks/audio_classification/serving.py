"""Sounds for prediction: those of a folder, one file, or a table with a column of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.readers.file_formats import Table
from harness.data.sounds import check_sounds
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.file_rows import files_to_predict


def read_sounds(file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[str]]]:
    """Return the columns of the output, and the paths of the sounds; see `files_to_predict`."""
    return files_to_predict(file, columns, how, SOUNDS, check_sounds, "audio")


def example_sound(facts: Mapping[str, Any]) -> str:
    """Return the path of a sound; see `harness.api.family.TaskFamily.example`."""
    return "['speech.wav']"
