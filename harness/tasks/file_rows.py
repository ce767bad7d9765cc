"""Rows that are files, from tables of paths, hub data sets and what is predicted for; shared by images and sounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.data.readers.file_formats import FileFormat, Keys, Table, read_file, require_columns
from harness.data.readers.rows import SPLITS, Hub, open_hub
from harness.data.readers.whole_table import read_texts
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.tasks.labeled_files import Check, LabeledFiles, Medium, files_below, read_paths

Rows = TypeVar("Rows")


def read_splits(paths: Mapping[str, Path], of_file: Callable[[Path], Mapping[str, Rows]]) -> dict[str, Rows]:
    """Read the paths of splits.

    The path of the training rows may be a folder of several splits, and gives those that have no path of their own. Of
    another path, the part of its split is read, and all of it if it has no parts.

    Args:
        paths: by split, `train` among them.
        of_file: reads one, by split; what is of no split is called train.

    Raises:
        HarnessError: some cannot be read.
    """
    found: dict[str, Rows] = {}
    problems = Problems()
    for split, path in paths.items():
        try:
            parts = of_file(path)
        except HarnessError as error:
            problems.extend(error)
            continue
        if split == "train":
            found |= {name: rows for name, rows in parts.items() if name == split or name not in paths}
        else:
            found[split] = parts[split] if split in parts else parts["train"]
    problems.raise_any()
    return {split: found[split] for split in SPLITS if split in found}


def read_table(
    path: Path, column: str, label: str, group: str | None, how: FileFormat, medium: Medium, keys: Keys
) -> LabeledFiles:
    """Read a table of paths, or of bytes, and labels.

    Args:
        path: the table.
        column, label, group: names of its columns; no group: None.
        how: of the file.
        medium: what the files are.
        keys: the key of the task that names a column, by column, for messages.

    Raises:
        HarnessError: the table cannot be read, or see `read_paths`.
    """
    notes: list[str] = []
    wanted = [column, *([] if group is None else [group]), label]
    columns = read_file(path, wanted, how, notes, keys)
    # In the order in which they were wanted; the file may spell a name in another way.
    names = list(columns)
    table = read_paths(path, columns, names[0], names[-1], None if group is None else names[1], medium)
    table.notes = notes + table.notes
    return table


def read_hub_files(
    given: Mapping[str, Any], column: str, label: str, task: str, medium: Medium, feature: str
) -> dict[str, LabeledFiles]:
    """Read a hub data set of files and labels, by split.

    Args:
        given: fields of `Hub`; its columns take precedence.
        column, label: names of the columns.
        task: name of the task, for messages.
        medium: what the files are.
        feature: class of `datasets` that decodes such a column, Image or Audio; here bytes are read as they are.

    Raises:
        HarnessError: it cannot be read, or see `read_paths`.
    """
    hub = Hub(**given)
    loaded, splits = open_hub(hub, task)
    found = {}
    for split, name in splits.items():
        data, where = loaded[name], f"{hub.id} ({name})"
        wanted = [str(hub.text or column), hub.label if hub.label is not None else label]
        places = require_columns(wanted, data.column_names, where, "task.hub")
        files, labels = (data.column_names[place] for place in places)
        kind = data.features[labels]
        if feature in type(data.features[files]).__name__:
            import datasets

            data = data.cast_column(files, getattr(datasets, feature)(decode=False))
        values = [
            kind.int2str(value) if hasattr(kind, "int2str") and value is not None else value for value in data[labels]
        ]
        columns = {files: list(data[files]), labels: values}
        found[split] = read_paths(Path(where), columns, files, labels, None, medium, inside=False)
    return found


def files_to_predict(
    file: Path,
    columns: Sequence[str],
    how: Mapping[str, Any],
    medium: Medium,
    check: Callable[[Sequence[Any]], Check],
    header: str,
) -> tuple[Table, list[list[str]]]:
    """Return the columns of the output, and the paths of the files to predict for.

    Args:
        file: a folder, one such file, or a table.
        columns: of a table, the column of paths, relative to the table's folder.
        how: fields of `FileFormat`.
        medium: what the files are.
        check: looks at their sources.
        header: name of the column of paths, where there is no table.

    Raises:
        HarnessError: a file cannot be read; names the first three.
    """
    if file.is_dir():
        found, _ = files_below(file, medium)
        if not found:
            raise HarnessError(f"{file} has no {medium.noun}s in it or in its folders.")
        table = Table([header], [[str(path.relative_to(file)) for path in found]])
    elif file.suffix.lower() in medium.suffixes:
        table, found = Table([header], [[str(file)]]), [file]
    else:
        table, texts = read_texts(file, columns, how)
        found = [file.parent / text for text in texts[0]]
    checked = check([medium.of_path(path) for path in found])
    if checked.bad:
        shown = [f"{found[row]} ({why})" for row, why in checked.bad.items()]
        raise HarnessError(
            f"{file}: {len(shown)} of {len(found)} {medium.noun}s cannot be read: {several(shown)}. Mend or remove "
            "them."
        )
    return table, [[str(path) for path in found]]
