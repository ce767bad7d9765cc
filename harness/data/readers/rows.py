"""Sources of labeled rows: the user's files, a directory in $HARNESS_DATA, or a Hugging Face hub data set."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data.readers.file_formats import Columns, FileFormat, read_file, require_columns
from harness.data.text_values import half_characters, match, plain
from harness.errors import HarnessError, Problems, nearest
from harness.formatting.examples import examples, short, some

SPLITS = ("train", "validation", "test")
GROUP_KEY = "task.group"


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A data set of the Hugging Face hub.

    Attributes:
        id: `owner/name`, or a local directory that `datasets` can load.
        revision: commit, tag or branch; a commit keeps results reproducible.
        config: configuration name of the data set.
        text, label: its column names, if they differ from the task's.
        label_names: {raw label: name}, for a numeric label column without names.
        splits: {train | validation | test: the hub's name}; None: splits with these names.
    """

    id: str
    revision: str | None = None
    config: str | None = None
    text: str | Sequence[str] | None = None
    label: str | None = None
    label_names: Mapping[str, str] | None = None
    splits: Mapping[str, str] | None = None


def data_folder(folder: str | None) -> Path | None:
    """Return `$HARNESS_DATA/<folder>` if it exists, else None.

    Raises:
        HarnessError: HARNESS_DATA is set to something that is not a directory.
    """
    root = os.environ.get("HARNESS_DATA")
    if not root or not folder:
        return None
    if not Path(root).is_dir():
        raise HarnessError(f"HARNESS_DATA must name a folder; {root} is none. Correct it, or unset it to use the hub.")
    path = Path(root) / folder
    return path if path.is_dir() else None


def read_rows(
    path: Path, text: Sequence[Any], label: Any, how: FileFormat, label_names: Mapping[Any, Any], group: Any = None
) -> pd.DataFrame:
    """Read and check the rows of one file; see `to_rows` for the result, whose `attrs["notes"]` are for the user."""
    notes: list[str] = []
    named = [] if group is None else [group]
    columns = read_file(path, [*text, *named, label], how, notes, dict.fromkeys(named, GROUP_KEY))
    names = [str(plain(name)) for name in text]
    frame = to_rows(columns, names, str(plain(label)), label_names, path.name)
    if group is not None:
        frame = frame.assign(group=group_names(columns[str(plain(group))], group, path.name))
    frame.attrs["notes"] = notes
    return frame


def notes_of(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the sentences about the files of all splits, each once."""
    return list(dict.fromkeys(note for frame in frames.values() for note in frame.attrs.get("notes", ())))


def group_names(values: Sequence[Any], column: Any, where: str) -> list[str]:
    """Return the names of the groups of rows as texts.

    Raises:
        HarnessError: a row has no group, or one that is neither a text nor a number.
    """
    problems = Problems()
    missing = [row for row, value in enumerate(values, 1) if _is_missing(value)]
    problems.check(
        not missing,
        f"{where}: {len(missing)} of {len(values)} rows have no group in column {plain(column)!r}: {_rows(missing)}. "
        "Fill them, a row that belongs to no other with a name of its own, or leave task.group out.",
    )
    odd = [row for row, value in enumerate(values, 1) if isinstance(value, list | dict | bytes)]
    problems.check(
        not odd,
        f"{where}: groups must be texts or numbers, and those in column {plain(column)!r} {_rows(odd)} are not.",
    )
    problems.raise_any()
    return [label_text(value) for value in values]


def read_hub(hub: Hub, text: Sequence[Any], label: Any, name: str, group: Any = None) -> dict[str, pd.DataFrame]:
    """Read a hub data set.

    Args:
        hub: the data set.
        text: the task's text columns, used if `hub` has none.
        label: the task's label column, likewise.
        name: name of the task, for messages.
        group: the column of groups; None if there is none.

    Returns:
        Rows (see `to_rows`) by split: train, and validation and test if the hub has them.

    Raises:
        HarnessError: `datasets` is not installed, the hub is not reachable, or the data set does not fit `hub`.
    """
    loaded, splits = open_hub(hub, name)
    text = list(hub.text or text) if isinstance(hub.text, list | tuple | None) else [hub.text]
    label = hub.label if hub.label is not None else label
    rows: dict[str, pd.DataFrame] = {}
    problems = Problems()
    for split, given in splits.items():
        data, where = loaded[given], f"{hub.id} ({given})"
        try:
            named = [] if group is None else [group]
            places = require_columns(
                [*text, label, *named], data.column_names, where, "task.hub", dict.fromkeys(named, GROUP_KEY)
            )
            names = [data.column_names[place] for place in places[: len(text) + 1]]
            columns: Columns = {column: list(data[column]) for column in names}
            feature = data.features[names[-1]]
            if hasattr(feature, "int2str"):  # a ClassLabel of `datasets`
                values = columns[names[-1]]
                columns[names[-1]] = [feature.int2str(value) if value is not None else None for value in values]
            rows[split] = to_rows(columns, names[:-1], names[-1], hub.label_names or {}, where, "task.hub")
            if group is not None:
                rows[split] = rows[split].assign(
                    group=group_names(list(data[data.column_names[places[-1]]]), group, where)
                )
        except HarnessError as error:
            problems.extend(error)
    problems.raise_any()
    return rows


def open_hub(hub: Hub, name: str) -> tuple[Any, dict[str, str]]:
    """Load a hub data set.

    Args:
        hub: the data set.
        name: name of the task, for messages.

    Returns:
        A `datasets.DatasetDict`, and the hub's name of each split: train, and validation and test if there are any.

    Raises:
        HarnessError: see `read_hub`.
    """
    ways = (
        f"Ways out: set HARNESS_DATA to a folder with the data of {name}, or name your own file with "
        "task.path=FILE (task.hub.id=ID chooses another hub data set)."
    )
    try:
        import datasets
    except ImportError as error:
        raise HarnessError(
            f"Task {name} would come from the hub data set {hub.id}, which needs the package datasets: pip install "
            f"'harness[hub]'. {ways}"
        ) from error
    try:
        loaded = datasets.load_dataset(hub.id, hub.config, revision=hub.revision)
    except Exception as error:  # the hub's client raises errors of several packages
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HarnessError(f"The hub data set {hub.id} of task {name} cannot be loaded: {reason}. {ways}") from error
    splits = dict(hub.splits) if hub.splits else {split: split for split in SPLITS if split in loaded}
    if unknown := [given for given in splits.values() if given not in loaded]:
        raise HarnessError(
            f"{hub.id} has no split {', '.join(unknown)}. {nearest(unknown[0], loaded)} Say which is which: "
            "'task.hub.splits={train:<split>,test:<split>}'"
        )
    if "train" not in splits:
        raise HarnessError(
            f"{hub.id} has no split train, only {', '.join(loaded)}. Say which is which: "
            "'task.hub.splits={train:<split>,test:<split>}'"
        )
    return loaded, splits


def to_rows(
    columns: Columns, text: Sequence[str], label: str, label_names: Mapping[Any, Any], where: str, section: str = "task"
) -> pd.DataFrame:
    """Check raw columns and name their labels.

    Args:
        columns: raw values by column name.
        text: names of the one or two text columns.
        label: name of the label column.
        label_names: {raw label: class name}; empty: raw labels are the class names.
        where: name of the source, for messages.
        section: configuration section that selects the columns, for messages.

    Returns:
        Columns `text`, `pair` (only with two text columns), `label` (the class name) and `id` (row number from 0).

    Raises:
        HarnessError: a text or label is missing, empty or of the wrong type, or a label has no name.
    """
    problems = Problems()
    for column in text:
        check_texts(columns[column], column, where, problems)
    named = _name_labels(columns[label], label, label_names, where, section, problems)
    problems.raise_any()
    pair = {"pair": columns[text[1]]} if len(text) == 2 else {}
    frame = {"text": columns[text[0]], **pair, "label": named, "id": range(len(named))}
    types = {name: "int64" if name == "id" else "object" for name in frame}
    return pd.DataFrame({name: pd.Series(values, dtype=types[name]) for name, values in frame.items()})


def check_texts(values: Sequence[Any], column: str, where: str, problems: Problems, empty: bool = False) -> None:
    """Report values that are not texts.

    Args:
        values: values of the column.
        column, where: names of the column and of its source, for messages.
        problems: collects the messages.
        empty: whether a text may be missing or empty.
    """
    missing = [] if empty else [row for row, value in enumerate(values, 1) if _is_missing(value)]
    other = [row for row, value in enumerate(values, 1) if not isinstance(value, str) and not _is_missing(value)]
    problems.check(
        not missing,
        f"{where}: {len(missing)} of {len(values)} rows have no text in column {column!r}: {_rows(missing)}. Fill or "
        "remove them.",
    )
    if other:
        example = values[other[0] - 1]
        problems.add(
            f"{where}: {len(other)} of {len(values)} rows hold no text in column {column!r} but, for instance, "
            f"{type(example).__name__} {short(example)}: {_rows(other)}. Choose a text column with task.text."
        )
    if told := half_characters(values, column, where):
        problems.add(told)


def _name_labels(
    values: Sequence[Any], column: str, label_names: Mapping[Any, Any], where: str, section: str, problems: Problems
) -> list[str]:
    missing = [row for row, value in enumerate(values, 1) if _is_missing(value)]
    problems.check(
        not missing,
        f"{where}: {len(missing)} of {len(values)} rows have no label in column {column!r}: {_rows(missing)}. "
        "Fill or remove them.",
    )
    if odd := [row for row, value in enumerate(values, 1) if isinstance(value, list | dict | bytes)]:
        problems.add(
            f"{where}: labels must be texts or numbers; in column {column!r} {_rows(odd)} hold "
            f"{type(values[odd[0] - 1]).__name__}. One label a row is needed."
        )
    raw = [label_text(value) for value in values]
    if not label_names:
        return raw
    names = {value: name for value in set(raw) if (name := _name_of(value, label_names)) is not None}
    if unknown := sorted(value for value in set(raw) if value and value not in names):
        problems.add(
            f"{where}: {section}.label_names gives no name for {examples(unknown)}. Named: "
            f"{examples([str(plain(key)) for key in label_names])}."
        )
    return [names.get(value, value) for value in raw]


def _name_of(value: str, label_names: Mapping[Any, Any]) -> str | None:
    """Return the name of a raw label. A key with the same spelling wins over a key with the same meaning."""
    keys = [key for key in label_names if plain(key) == value] or [key for key in label_names if match(key, [value])]
    return str(label_names[keys[0]]) if keys else None


def label_text(value: Any) -> str:
    """Convert a raw label to text: `true`, `3` (also for 3.0), stripped; a missing label is empty."""
    if _is_missing(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _rows(numbers: Sequence[int]) -> str:
    return f"row{'s' if len(numbers) > 1 else ''} {some(numbers)} (counted from 1, without a header)"
