"""Reader of named columns from a file: delimited text, lines, JSON, Parquet, Arrow, ARFF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.data.readers.containers import is_text, refuse_foreign, tables, unpack
from harness.data.readers.delimited import other_separator, read_delimited, read_lines
from harness.data.readers.encodings import decode, encoding_note
from harness.data.text_values import as_number, match, plain
from harness.errors import HarnessError
from harness.formatting.examples import MOST, alternatives, several, some

Columns = dict[str, list[Any]]
Keys = Mapping[Any, str]
NO_KEYS: Keys = MappingProxyType({})

FORMATS = ("csv", "tsv", "lines", "jsonl", "json", "parquet", "arrow", "arff")
SUFFIXES = {f".{name}": name for name in FORMATS if name != "lines"} | {
    ".ndjson": "jsonl",
    ".pq": "parquet",
    ".feather": "arrow",
}
TABLES = ("jsonl", "json", "parquet", "arrow")  # formats whose cells may hold lists


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """How to read a file.

    Attributes:
        format: one of `FORMATS`; None: by the file's suffix, and for Parquet and Arrow by its content.
        encoding: encoding of text files.
        separator: field separator; None: from a first line `sep=;`, else a comma (csv) or a tab (tsv, lines).
        columns: column names of a file without a header; None: from the header.
        quoting: whether double quotes enclose fields (csv, tsv).
    """

    format: str | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    columns: Sequence[str] | None = None
    quoting: bool = True


@dataclass(frozen=True)
class Table:
    """The columns of a file, in order and of equal length.

    Attributes:
        names: column names; may contain duplicates.
        columns: lists of str, int, float, bool, None or other types of the file's format.
        notes: sentences about the file, for the user.
    """

    names: list[str]
    columns: list[list[Any]]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.columns[0]) if self.columns else 0


def read_file(
    path: Path, wanted: Sequence[Any], how: FileFormat, notes: list[str] | None = None, keys: Keys = NO_KEYS
) -> Columns:
    """Read columns of a file.

    Args:
        path: the file.
        wanted: names of the columns, the label's last, as configured (see `harness.data.text_values`).
        how: the file's format.
        notes: collects sentences about the file, for the user.
        keys: see `require_columns`.

    Returns:
        The wanted columns by name: lists of equal length of str, int, float, bool or None.

    Raises:
        HarnessError: the file is missing, empty, of unknown format, in another encoding, damaged, or lacks a column.
    """
    table = read_table(path, how, wanted, wanted[-1], keys=keys)
    if not table.rows:
        raise HarnessError(f"{path.name} holds no rows: at least one row with a text and a label is needed.")
    found = require_columns(wanted, table.names, path.name, keys=keys)
    if notes is not None:
        notes += table.notes
    return {str(plain(name)): table.columns[place] for name, place in zip(wanted, found, strict=True)}


def read_table(
    path: Path,
    how: FileFormat,
    wanted: Sequence[Any] = (),
    label: Any = None,
    every: bool = False,
    keys: Keys = NO_KEYS,
) -> Table:
    """Read a file.

    Args:
        path: the file.
        how: its format.
        wanted: names of the needed columns; they decide whether keys of JSON objects name columns or rows.
        label: name of the label column, needed to split `lines`; None if there is none.
        every: whether unneeded columns are read from Parquet, too.
        keys: see `require_columns`.

    Raises:
        HarnessError: see `read_file`. A file without rows is no error.
    """
    try:
        _check_path(path)
        content, name = unpack(path.read_bytes(), path.name)
        if not content:
            raise HarnessError(f"{path.name} is empty: rows with a text and a label are needed.")
        kind = _kind(content, name, path.name, how)
        if kind in ("parquet", "arrow"):
            return _read_arrow(content, kind, () if every else wanted, path.name, keys)
        table = _read_text(content, kind, wanted, label, how, path.name)
        note = encoding_note(content, how.encoding, path.name)
        return replace(table, notes=(note,)) if note else table
    except OSError as error:
        raise HarnessError(f"{path.name} cannot be read: {error}.") from error
    except MemoryError as error:
        raise HarnessError(f"{path.name} does not fit into memory.") from error


def _check_path(path: Path) -> None:
    """Raise unless a path is that of a file with content."""
    if path.is_dir():
        raise HarnessError(f"{path} is a folder, and a file is needed. {neighbours(path / 'train.csv')}")
    if path.exists() and not path.is_file():  # its size is not known, and it can be read only once
        raise HarnessError(f"{path} is a pipe or a device: write its output to a file, and name that file.")
    if not path.is_file():
        raise HarnessError(f"There is no file {path}. {neighbours(path)}")
    if path.stat().st_size == 0:
        raise HarnessError(f"{path.name} is empty: rows with a text and a label are needed.")


def _kind(content: bytes, name: str, where: str, how: FileFormat) -> str:
    """Return the format of a file: by its content, the configuration, or its suffix."""
    found, suffix = tables(content), SUFFIXES.get(Path(name).suffix.lower())
    declared = how.format
    if declared is not None and declared not in FORMATS:
        raise HarnessError(f"Unknown format {declared}: set task.format to one of {', '.join(FORMATS)}.")
    if found is not None and declared not in (None, found):
        raise HarnessError(
            f"{where} is a file of format {found}, not {declared}: set task.format={found}, or leave it out."
        )
    if found is None:
        refuse_foreign(content, where)
    kind = found or declared or suffix
    if kind is None:
        raise HarnessError(
            f"The suffix of {where} does not say its format: set task.format to one of {', '.join(FORMATS)}."
        )
    if found is None and kind in ("parquet", "arrow") and not content.startswith(b"PAR1") and is_text(content):
        texts = ", ".join(name for name in FORMATS if name not in ("parquet", "arrow"))
        raise HarnessError(f"{where} is a text file, not {kind}: set task.format to one of {texts}.")
    return kind


def require_columns(
    wanted: Sequence[Any], available: Sequence[str], where: str, section: str = "task", keys: Keys = NO_KEYS
) -> list[int]:
    """Find columns by name.

    Args:
        wanted: names of columns, as configured (see `harness.data.text_values`).
        available: the available names.
        where: name of the source.
        section: configuration section that selects the columns of texts and labels.
        keys: the key that names a column, by column, for messages; of others `text` or `label` of the section does.

    Returns:
        The index of each wanted column.

    Raises:
        HarnessError: a wanted column is missing or occurs twice.
    """
    hint = other_separator(available)
    if not hint and any(map(_looks_like_data, available)):
        hint = " The first row looks like data, not like names: name the columns with task.columns=[text,label]."
    problems = []
    for name in dict.fromkeys(wanted):
        column = match(name, available)
        if column is None:
            key = keys.get(name, f"{section}.text and {section}.label")
            problems.append(
                f"{where} has no column {plain(name)!r}. {alternatives(plain(name), available)} Choose with "
                f"{key}.{hint}"
            )
        elif available.count(column) > 1:
            twice = [number for number, each in enumerate(available, 1) if each == column]
            problems.append(
                f"{where} has {len(twice)} columns of the name {column!r} (columns {some(twice)}), and which "
                "one counts is unknown: rename the others."
            )
    if problems:
        raise HarnessError(*problems)
    return [list(available).index(match(name, available) or "") for name in wanted]


def _looks_like_data(name: str) -> bool:
    return len(name.split()) > 4 or (isinstance(as_number(name), float) and "." in name)  # unlikely as a column name


def _read_text(content: bytes, kind: str, wanted: Sequence[Any], label: Any, how: FileFormat, where: str) -> Table:
    text = decode(content, how.encoding, where)
    if kind == "arff":
        from harness.data.readers.arff import read_arff

        return Table(*read_arff(text, where))
    if kind in ("json", "jsonl"):
        from harness.data.readers.json_rows import read_json

        return Table(*read_json(text, kind, how.columns, wanted, where))
    names = None if how.columns is None else list(how.columns)
    if kind == "lines":
        rows = read_lines(text, how.separator, names, label, where)
    else:
        width = None if names is None else len(names)
        rows = read_delimited(text, kind, how.separator, how.quoting, names is None, width, where)
    if names is None:
        names, rows = rows[0], rows[1:]
    return Table(names, [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names])


def _read_arrow(content: bytes, kind: str, wanted: Sequence[Any], where: str, keys: Keys) -> Table:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet as pq

    try:
        source = pa.BufferReader(content)
        if kind == "parquet":
            file = pq.ParquetFile(source)
            names = file.schema_arrow.names
            if wanted:
                names = [names[place] for place in require_columns(wanted, names, where, keys=keys)]
            table = file.read(columns=names if wanted else None)
        elif content.startswith(b"FEA1"):
            table = pyarrow.feather.read_table(source)
        elif content.startswith(b"ARROW1"):
            table = pa.ipc.open_file(source).read_all()
        else:  # stream format, written by `datasets`
            table = pa.ipc.open_stream(source).read_all()
        return Table(list(table.column_names), [column.to_pylist() for column in table.columns])
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:  # ValueError: strings that are not UTF-8
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HarnessError(f"{where} is not a readable {kind} file: {reason}") from error


def expanded(path: str) -> Path:
    """A path with a user's home for `~`; where there is no such user, as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def neighbours(path: Path) -> str:
    """Describe the files in the directory of a missing file, the most similar name first."""
    import difflib

    folder = path.parent
    if not folder.is_dir():
        return f"{folder} is not a folder." if folder.exists() else f"Its folder {folder} does not exist either."
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    if not names:
        return f"The folder {folder} holds no files."
    close = difflib.get_close_matches(path.name, names, n=MOST, cutoff=0.5)
    there = several([*close, *(name for name in names if name not in close)])
    return f"{f'Did you mean {close[0]}? ' if close else ''}Files there: {there}."
