"""Folders of sounds with a transcript beside each: `a.wav` and `a.txt`."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.formatting.examples import several
from harness.formatting.values import plural
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.labeled_files import LabeledFiles, files_below, split_folders

TRANSCRIPT = ".txt"


def read_speech(folder: Path, encoding: str) -> dict[str, LabeledFiles]:
    """Read a folder, or its folders train, validation and test, by split.

    Args:
        folder: with sounds and transcripts.
        encoding: of the transcripts.

    Raises:
        HarnessError: there are no sounds, some lack their transcript, or a link leads out of the folder.
    """
    splits = split_folders(folder)
    tables = {split: _read(each, encoding) for split, each in splits.items()}
    loose = [each.name for each in sorted(folder.iterdir()) if each.suffix.lower() in SOUNDS.suffixes]
    if loose and splits["train"] != folder:
        tables["train"].notes.append(
            f"{folder.name}: {plural(len(loose), 'sound')} beside the folders of the splits were left out "
            f"({several(loose)})."
        )
    return tables


def _read(folder: Path, encoding: str) -> LabeledFiles:
    found, others = files_below(folder, SOUNDS)
    if not found:
        raise HarnessError(
            f"{folder} has no sounds in it or in its folders ({', '.join(SOUNDS.suffixes)}): put a.wav there, and its "
            f"transcript beside it as a{TRANSCRIPT}."
        )
    table, lacking, broken = LabeledFiles([], [], []), [], []
    for path in found:
        name, beside = str(path.relative_to(folder)), path.with_suffix(TRANSCRIPT)
        if not beside.is_file():
            lacking.append(name)
            continue
        try:
            text = _transcript(beside, encoding)
        except (OSError, ValueError) as error:
            broken.append(f"{beside.relative_to(folder)} ({error})")
            continue
        table.sources.append(SOUNDS.of_path(path))
        table.names.append(name)
        table.labels.append(text.strip())
    problems = []
    if lacking:
        problems.append(
            f"{folder}: {plural(len(lacking), 'sound')} without a transcript beside it ({TRANSCRIPT}): "
            f"{several(lacking)}. Write what is said, remove the sound, or name a table of paths and transcripts."
        )
    if broken:
        problems.append(
            f"{folder}: {plural(len(broken), 'transcript')} that cannot be read as {encoding}: {several(broken)}. Set "
            "task.encoding to theirs, such as cp1252 or utf-16, or save them as UTF-8."
        )
    if problems:
        raise HarnessError(*problems)
    stems = {path.with_suffix(TRANSCRIPT) for path in found}
    if extra := [str(path.relative_to(folder)) for path in others if path not in stems]:
        table.notes.append(
            f"{folder.name}: {plural(len(extra), 'file')} without a part in this were left out ({several(extra)})."
        )
    return table


def _transcript(path: Path, encoding: str) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        ValueError: it has another encoding; UTF-16 without a mark is valid UTF-8, with a NUL in every character.
    """
    text = path.read_text(encoding=encoding).removeprefix("\ufeff")
    if "\0" in text:
        raise ValueError("has NULs, as UTF-16 has")
    return text
