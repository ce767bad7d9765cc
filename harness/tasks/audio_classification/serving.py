"""Sounds for prediction: those of a folder, one file, or a table with a column of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.readers.file_formats import Table
from harness.data.readers.whole_table import read_texts
from harness.data.sounds import FileSound, check_sounds
from harness.errors import HarnessError
from harness.formatting.examples import several
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.labeled_files import files_below


def read_sounds(file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[str]]]:
    """Return the columns of the output, and the paths of the sounds.

    Args:
        file: a folder, a sound, or a table.
        columns: of a table, the column of paths, relative to the table's folder.
        how: fields of `FileFormat`.

    Raises:
        HarnessError: a sound cannot be read; names the first three.
    """
    if file.is_dir():
        found, _ = files_below(file, SOUNDS)
        if not found:
            raise HarnessError(f"{file} has no sounds in it or in its folders.")
        table = Table(["audio"], [[str(path.relative_to(file)) for path in found]])
    elif file.suffix.lower() in SOUNDS.suffixes:
        table, found = Table(["audio"], [[str(file)]]), [file]
    else:
        table, texts = read_texts(file, columns, how)
        found = [file.parent / text for text in texts[0]]
    checked = check_sounds([FileSound(path) for path in found])
    if checked.bad:
        shown = [f"{found[row]} ({why})" for row, why in checked.bad.items()]
        raise HarnessError(
            f"{file}: {len(shown)} of {len(found)} sounds cannot be read: {several(shown)}. Mend or remove them."
        )
    return table, [[str(path) for path in found]]


def example_sound(facts: Mapping[str, Any]) -> str:
    """Return the path of a sound; see `harness.api.family.TaskFamily.example`."""
    return "['speech.wav']"
