"""Read the named columns of one file of labelled rows: delimited text, lines, JSON, Parquet, Arrow, ARFF."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, nearest

Columns = dict[str, list[Any]]

FORMATS = ("csv", "tsv", "lines", "jsonl", "json", "parquet", "arrow", "arff")
SUFFIXES = {f".{name}": name for name in FORMATS if name != "lines"} | {
    ".ndjson": "jsonl",
    ".pq": "parquet",
    ".feather": "arrow",
}


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """How a file is read.

    Attributes:
        format: one of `FORMATS`; None goes by the file's suffix.
        encoding: of text files.
        separator: between fields; None is a comma (csv) or a tab (tsv, lines).
        columns: names of the columns of a file without a header; None takes them from the header.
        quoting: whether a double quote encloses fields (csv, tsv).
    """

    format: str | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    columns: Sequence[str] | None = None
    quoting: bool = True


def read_file(path: Path, wanted: Sequence[str], how: FileFormat) -> Columns:
    """Read columns of a file.

    Args:
        path: the file.
        wanted: names of the columns to read, the label's last.
        how: the file's format.

    Returns:
        The wanted columns: lists of equal length of str, int, float, bool or None.

    Raises:
        HarnessError: the file is missing, empty, of unknown format, in another encoding, damaged, or lacks a column.
    """
    if path.is_dir():
        raise HarnessError(f"{path} is a folder, and a file is needed. {_neighbours(path / 'train.csv')}")
    if not path.is_file():
        raise HarnessError(f"There is no file {path}. {_neighbours(path)}")
    kind = how.format or SUFFIXES.get(path.suffix.lower())
    if kind not in FORMATS:
        given = f"The suffix of {path.name} does not say its format" if how.format is None else f"Unknown format {kind}"
        raise HarnessError(f"{given}: set task.format to one of {', '.join(FORMATS)}.")
    if path.stat().st_size == 0:
        raise HarnessError(f"{path.name} is empty: rows with a text and a label are needed.")
    try:
        if kind in ("parquet", "arrow"):
            columns = _read_arrow(path, kind, wanted)
        else:
            columns = _read_text(path, kind, wanted, how)
    except OSError as error:
        raise HarnessError(f"{path.name} cannot be read: {error}.") from error
    if not next(iter(columns.values())):
        raise HarnessError(f"{path.name} holds no rows: at least one row with a text and a label is needed.")
    return columns


def require_columns(wanted: Sequence[str], available: Sequence[str], where: str, section: str = "task") -> None:
    """Raise a `HarnessError` that names the columns at hand if wanted ones are not among them.

    Args:
        wanted, available: names of columns.
        where: the source's name.
        section: of the configuration, in which they are chosen.
    """
    hint = ""
    if len(available) == 1 and (found := [mark for mark in (";", "\t", "|", ",") if mark in available[0]]):
        shown = "tab" if found[0] == "\t" else found[0]
        hint = f" The header looks separated by {shown!r}: set task.separator='{shown}'."
    missing = [name for name in dict.fromkeys(wanted) if name not in available]
    if missing:
        raise HarnessError(
            *(
                f"{where} has no column {name!r}. {nearest(name, available)} Choose with {section}.text and "
                f"{section}.label.{hint}"
                for name in missing
            )
        )


def _read_text(path: Path, kind: str, wanted: Sequence[str], how: FileFormat) -> Columns:
    text = _decode(path, how.encoding)
    if kind == "arff":
        from harness.tasks.arff import read_arff

        columns = read_arff(text, path.name)
        require_columns(wanted, list(columns), path.name)
        return {name: columns[name] for name in wanted}
    if kind in ("json", "jsonl"):
        return _read_json(text, wanted, path.name)
    if kind == "lines":
        rows = _split_lines(text, wanted[-1], how, path.name)
    else:
        rows = _read_delimited(text, kind, how, path.name)
    if how.columns is None:
        names, rows = rows[0], rows[1:]
    else:
        names = list(how.columns)
    require_columns(wanted, names, path.name)
    return {name: [row[names.index(name)] for row in rows] for name in wanted}


def _decode(path: Path, encoding: str) -> str:
    content = path.read_bytes()
    try:
        return content.decode(encoding).removeprefix("\ufeff")  # spreadsheets begin UTF-8 files with a mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fitting = [name for name in ("utf-8", "utf-16", "cp1252", "latin-1") if _decodes(content, name)]
        raise HarnessError(
            f"{path.name} is not {encoding}: byte 0x{content[error.start]:02x} at position {error.start} (line {line}) "
            f"cannot be decoded. It can be read as {', '.join(fitting)}: set task.encoding={fitting[0]} and check that "
            "accented letters come out right."
        ) from error
    except LookupError as error:
        raise HarnessError(f"Unknown task.encoding {encoding}. Usual ones: utf-8, cp1252, latin-1.") from error


def _decodes(content: bytes, encoding: str) -> bool:
    if encoding == "utf-16" and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False  # without its mark almost any bytes of even length decode, to nonsense
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _separator(how: FileFormat) -> str | None:
    """The separator; a tab may be written as backslash and t, for a tab itself is hard to type."""
    return "\t" if how.separator in ("\\t", "tab") else how.separator


def _read_delimited(text: str, kind: str, how: FileFormat, where: str) -> list[list[str]]:
    separator = _separator(how) or ("\t" if kind == "tsv" else ",")
    if len(separator) != 1:
        raise HarnessError(
            f"task.separator of a {kind} file must be one character, not {separator!r}. A tab is written "
            "'task.separator=\\t', or is the separator of task.format=tsv."
        )
    csv.field_size_limit(sys.maxsize)  # the default of 128 KiB is less than a long document
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if how.quoting else csv.QUOTE_NONE,
        strict=True,
    )
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not row:
                continue  # a blank line
            if not rows and how.columns is None:
                row = [name.strip() for name in row]  # noqa: PLW2901  names of a header, "text, label" included
            width = len(rows[0]) if how.columns is None and rows else len(how.columns or row)
            if len(row) != width:
                advice = " A field that holds the separator must be enclosed in double quotes." if how.quoting else ""
                raise HarnessError(
                    f"{where}, line {reader.line_num}: {len(row)} fields where {width} are expected. The separator is "
                    f"{separator!r} (task.separator).{advice}"
                )
            rows.append(row)
    except csv.Error as error:
        raise HarnessError(
            f"{where}, line {reader.line_num}: {error}. A double quote inside an enclosed field must be doubled; where "
            "quotes enclose nothing, set task.quoting=false."
        ) from error
    if not rows:
        raise HarnessError(f"{where} holds no rows: at least one row with a text and a label is needed.")
    return rows


def _split_lines(text: str, label: str, how: FileFormat, where: str) -> list[list[str]]:
    # A text may hold the separator, a label does not: the label is cut off at the end or at the beginning.
    separator, columns = _separator(how) or "\t", list(how.columns or ())
    if len(columns) != 2:
        raise HarnessError(
            "A file of format lines has two fields a line: name them in their order with task.columns=[text,label] or "
            f"task.columns=[label,text], not {columns}."
        )
    label_last = columns[1] == label
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if bad := [number for number, line in numbered if separator not in line]:
        raise HarnessError(
            f"{where}: {len(bad)} of {len(numbered)} lines lack the separator {separator!r}: line {some(bad)}. Set "
            "task.separator, or mend them."
        )
    return [line.rsplit(separator, 1) if label_last else line.split(separator, 1) for _, line in numbered]


def _read_json(text: str, wanted: Sequence[str], where: str) -> Columns:
    rows: list[Any] = []
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise HarnessError(f"{where} is not valid JSON: {error}.") from error
    else:
        for number, line in enumerate(re.split(r"\r?\n", text), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise HarnessError(
                        f"{where}, line {number} is not valid JSON: {error}. A JSON object a line, or one list of "
                        "them, is needed."
                    ) from error
    if bad := [number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)]:
        raise HarnessError(f"{where}: {len(bad)} rows are not JSON objects: rows {some(bad)}.")
    if rows:
        require_columns(wanted, list(dict.fromkeys(name for row in rows for name in row)), where)
    return {name: [row.get(name) for row in rows] for name in wanted}


def _read_arrow(path: Path, kind: str, wanted: Sequence[str]) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind == "parquet":
            require_columns(wanted, pq.read_schema(path).names, path.name)
            table = pq.read_table(path, columns=list(wanted))
        else:
            try:
                table = pa.ipc.open_file(path).read_all()
            except pa.ArrowInvalid:  # the stream format, which `datasets` writes
                table = pa.ipc.open_stream(path.read_bytes()).read_all()
            require_columns(wanted, table.column_names, path.name)
    except pa.ArrowException as error:
        raise HarnessError(f"{path.name} is not a readable {kind} file: {str(error).splitlines()[0]}") from error
    return {name: table.column(name).to_pylist() for name in wanted}


def some(numbers: Sequence[int], most: int = 5) -> str:
    """List the first few of many numbers."""
    return ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")


def _neighbours(path: Path) -> str:
    import difflib

    folder = path.parent
    if not folder.is_dir():
        return f"Its folder {folder} does not exist either."
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    if not names:
        return f"The folder {folder} holds no files."
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    shown = [*close, *(name for name in names if name not in close)][:8]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{f'Did you mean {close[0]}? ' if close else ''}Files there: {', '.join(shown)}{more}."
