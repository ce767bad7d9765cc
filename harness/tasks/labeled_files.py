"""Rows that are files, such as images and sounds: folders a class, tables of paths or bytes, unreadable files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from harness.data.readers.rows import SPLITS, group_names, to_rows
from harness.data.text_values import half_characters
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.records.study_files import GROUP

LONGEST = 100  # characters of a path in a message
UNREADABLE = ("error", "skip")  # what `task.unreadable` takes
SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}


@dataclass(frozen=True)
class Medium:
    """What the files of a family are.

    Attributes:
        noun: one of them, in messages; also the column of digests.
        suffixes: of files that hold one, in lower case.
        of_path, of_bytes: make the source of one.
    """

    noun: str
    suffixes: tuple[str, ...]
    of_path: Callable[[Path], Any]
    of_bytes: Callable[[bytes], Any]


@dataclass
class LabeledFiles:
    """Labeled files of one split.

    Attributes:
        sources: n of them, as the family reads them.
        names: what each is called.
        labels: as they are written in the source.
        groups: the group of each; empty without groups.
        notes: sentences for the user.
    """

    sources: list[Any]
    names: list[str]
    labels: list[Any]
    groups: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_folder(folder: Path, medium: Medium) -> dict[str, LabeledFiles]:
    """Read a folder with a folder a class, or with folders train, validation and test of these.

    Raises:
        HarnessError: there are no classes, or a link leads out of the folder.
    """
    splits = split_folders(folder, lambda each: any(inner.is_dir() for inner in each.iterdir()))
    return {split: _classes(each, medium) for split, each in splits.items()}


def split_folders(folder: Path, holds: Callable[[Path], bool] = lambda _: True) -> dict[str, Path]:
    """Return the folders train, validation and test within a folder, by split; without `train`, the folder as train.

    Args:
        folder: may name them in other ways (`SPLIT_FOLDERS`), of which the first counts.
        holds: whether a folder has what a split's has.
    """
    below = {each.name.lower(): each for each in sorted(folder.iterdir()) if each.is_dir() and holds(each)}
    found = {split: next((below[name] for name in SPLIT_FOLDERS[split] if name in below), None) for split in SPLITS}
    if found["train"] is None:
        return {"train": folder}
    return {split: each for split, each in found.items() if each is not None}


def _classes(folder: Path, medium: Medium) -> LabeledFiles:
    table, noun = LabeledFiles([], [], []), medium.noun
    found, others = files_below(folder, medium)
    loose = [path for path in found if path.parent == folder]
    if len(loose) == len(found):
        hint = f" It has {len(loose)} {noun}s but no folders: put them into a folder for each class." if loose else ""
        raise HarnessError(f"{folder} needs a folder for each class, with its {noun}s.{hint}")
    if loose:
        table.notes.append(f"{folder.name}: {len(loose)} {noun}s beside the folders of the classes were left out.")
    if others:
        shown = several([path.name for path in others])
        table.notes.append(f"{folder.name}: {len(others)} files that are no {noun}s were left out ({shown}).")
    for path in found:
        if path.parent != folder:
            table.sources.append(medium.of_path(path))
            table.names.append(str(path.relative_to(folder)))
            table.labels.append(path.relative_to(folder).parts[0])
    return table


def files_below(folder: Path, medium: Medium) -> tuple[list[Path], list[Path]]:
    """Return the files of a medium in a folder and in all folders below it, and the other files, both sorted.

    Raises:
        HarnessError: a link leads out of the folder.
    """
    inside = folder.resolve()
    found, others, outside, odd = list[Path](), list[Path](), list[str](), list[str]()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or path.is_dir():
            continue
        if half_characters([str(name)], "", ""):  # as Python reads bytes of a name that are no UTF-8
            odd.append(ascii(str(name)))
        if path.is_symlink() and not lies_within(path, inside):
            outside.append(str(path.relative_to(folder)))
        (found if path.suffix.lower() in medium.suffixes else others).append(path)
    if odd:
        raise HarnessError(
            f"{len(odd)} names in {folder} are not UTF-8: {several(odd)}. Rename the files, or their folders."
        )
    if outside:
        raise HarnessError(
            f"{len(outside)} links in {folder} lead out of it: {several(outside)}. Copy the files, or name the folder "
            "that holds them."
        )
    return found, others


def lies_within(path: Path, folder: Path) -> bool:
    """Return whether a path leads into a folder once its links are followed; those that cannot be followed do.

    A link that leads to itself, or a name that no file can have, is told where the file is read.
    """
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop, before Python 3.13
        return True


def read_paths(
    path: Path,
    columns: Mapping[str, Sequence[Any]],
    file: str,
    label: str,
    group: str | None,
    medium: Medium,
    inside: bool = True,
) -> LabeledFiles:
    """Make rows of a table of paths, or of bytes as Parquet and hub data sets hold them.

    Args:
        path: of the table; paths in it are relative to its folder.
        columns: values by name.
        file, label, group: names of the columns.
        medium: what the files are.
        inside: whether they must lie in that folder; those of a hub data set lie in the hub's cache.

    Raises:
        HarnessError: a value is neither a path nor bytes, or a path leads out of the folder.
    """
    root, noun = path.parent.resolve(), medium.noun
    table = LabeledFiles([], [], list(columns[label]))
    odd, outside = [], []
    for row, value in enumerate(columns[file], 1):
        # A mapping of bytes and path, as `datasets` stores files; one of them may be missing.
        held = value.get("bytes") if isinstance(value, Mapping) else value
        name = value.get("path") if isinstance(value, Mapping) else value
        if isinstance(held, bytes | bytearray):
            table.sources.append(medium.of_bytes(bytes(held)))
            table.names.append(f"row {row}" if not isinstance(name, str) else name)
        elif isinstance(name, str) and name.strip() and "\0" not in name:
            # Not resolved: a link is judged by where it leads, and named as it is written.
            where = Path(os.path.normpath(root / name))
            if inside and not lies_within(where, root):
                outside.append(f"{name} (row {row})")
            table.sources.append(medium.of_path(where))
            table.names.append(name)
        else:
            odd.append(f"row {row} ({type(value).__name__})")
    problems = []
    if odd:
        problems.append(
            f"{path.name}: {len(odd)} of {len(columns[file])} rows have no path or {noun} in column {file!r}: "
            f"{several(odd)}. Fill or remove them."
        )
    if outside:
        problems.append(
            f"{path.name}: {len(outside)} {noun}s lie outside its folder {root}: {several(outside)}. Write paths "
            f"relative to the table, and put it where the {noun}s are."
        )
    if problems:
        raise HarnessError(*problems)
    if group is not None:
        group_names(columns[group], group, path.name)  # complains where there is none
        table.groups = [str(value) for value in columns[group]]
    return table


class Check(Protocol):
    """What a check of files found.

    Attributes:
        digests: of the content of each; None for one that cannot be used.
        bad: {index: why} of these.
        changes: {what was changed to use them, the end of a sentence that begins with a count: number of files}.
    """

    @property
    def digests(self) -> Sequence[str | None]: ...  # noqa: D102 -- see the class
    @property
    def bad(self) -> Mapping[int, str]: ...  # noqa: D102
    @property
    def changes(self) -> Mapping[str, int]: ...  # noqa: D102


@dataclass
class CheckedFiles:
    """Files that can be read, as rows.

    Attributes:
        frames: rows (see `harness.data.readers.rows.to_rows`) by split; their text is the digest of the file.
        sources, names: by digest, where the file comes from and what it is called.
        kept: by split, the check and the indices of the rows that were kept.
        notes: sentences for the user.
    """

    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    kept: dict[str, tuple[Any, list[int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def checked_files(
    task: str,
    tables: Mapping[str, LabeledFiles],
    check: Callable[[Sequence[Any]], Check],
    noun: str,
    label_names: Mapping[str, str],
    skip: bool,
) -> CheckedFiles:
    """Check the files of all splits and make rows of them.

    Args:
        task: name of the task, for messages.
        tables: files by split.
        check: looks at the sources of a split.
        noun: see `Medium`.
        label_names: {raw label: name of the class}; empty: raw labels are the names.
        skip: whether files that cannot be read are left out; else they are an error.

    Raises:
        HarnessError: files cannot be read, or labels are missing.
    """
    problems = Problems()
    found = CheckedFiles(notes=[note for table in tables.values() for note in table.notes])
    for split, table in tables.items():
        checked = check(table.sources)
        if checked.bad:
            shown = several([f"{_cut(table.names[row])} ({why})" for row, why in checked.bad.items()])
            told = f"{len(checked.bad)} of {len(table.sources)} {split} {noun}s cannot be read: {shown}."
            if skip:
                found.notes.append(f"{told} They were left out.")
            else:
                problems.add(f"{task}: {told} {_way(checked.bad, table)}")
                continue
        for what, number in sorted(checked.changes.items()):
            found.notes.append(f"{number} {split} {_agree(what, number, noun)}.")
        kept = [row for row, digest in enumerate(checked.digests) if digest is not None]
        if not problems.check(bool(kept), f"{task}: there are no {split} {noun}s."):
            continue
        digests = [str(checked.digests[row]) for row in kept]
        columns = {noun: digests, "label": [table.labels[row] for row in kept]}
        try:
            frame = to_rows(columns, [noun], "label", label_names, f"{task} ({split})")
        except HarnessError as error:
            problems.extend(error)
            continue
        of_rows = {GROUP: [table.groups[row] for row in kept]} if table.groups else {}
        found.frames[split] = frame.assign(id=kept, **of_rows)
        found.kept[split] = (checked, kept)
        for row, digest in zip(kept, digests, strict=True):
            found.sources.setdefault(digest, table.sources[row])
            found.names.setdefault(digest, table.names[row])
    problems.raise_any()
    return found


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}"


def _way(bad: Mapping[int, str], table: LabeledFiles) -> str:
    """Say what to do about files that cannot be read."""
    names = [table.names[row] for row in bad]
    if any("://" in name for name in names):
        return "Paths name files of this machine: download them first."
    if any("\\" in name for name in names):
        return "Paths are written with / between folders, not \\: replace them in the table."
    if len(bad) == len(table.sources):
        return "Mend them, or the column that names them; paths are relative to the folder of the table."
    return "Mend or remove them, or leave them out: task.unreadable=skip."


def _agree(what: str, number: int, noun: str) -> str:
    """Make a sentence about several files one about a single one."""
    if number > 1:
        return what
    one = what.replace(f"{noun}s were", f"{noun} was").replace(f"{noun}s hold", f"{noun} holds")
    return one.replace("their", "its")
