"""Input and output of prediction: texts with all columns of their file, and the file written from them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.readers.advice import as_options
from harness.data.readers.delimited import separator_of
from harness.data.readers.encodings import encoding_problem
from harness.data.readers.file_formats import FileFormat, Table, read_table, require_columns
from harness.data.readers.rows import check_texts
from harness.errors import HarnessError, Problems
from harness.records.files import atomic

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell starting with these is a formula to spreadsheets
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?\s*%?")


def read_texts(
    file: Path, columns: Sequence[str], how: Mapping[str, Any], say: Callable[[str], str] = as_options
) -> tuple[Table, list[list[str]]]:
    """Read a file of texts.

    Args:
        file: its path.
        columns: names of the one or two text columns.
        how: fields of `FileFormat`.
        say: rewrites what is wrong with the file, as what its user can set (see `harness.data.readers.advice`).

    Returns:
        All of its columns, and the texts, one list per text column; a missing text is "".

    Raises:
        HarnessError: the file cannot be read, has no such column, no rows, or values that are not texts.
    """
    try:
        return _read(file, columns, how)
    except HarnessError as error:
        raise HarnessError(*map(say, error.problems)) from error


def _read(file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[str]]]:
    if problem := encoding_problem(str(how.get("encoding") or "utf-8")):
        raise HarnessError(problem)
    names = how.get("columns")
    label = next((name for name in names if name not in columns), None) if names else None
    table = read_table(file, FileFormat(**how), columns, label, every=True)
    if not table.rows:
        raise HarnessError(f"{file.name} has no rows: at least one with a text is needed.")
    places = require_columns(columns, table.names, file.name)
    problems = Problems()
    for name, place in zip(columns, places, strict=True):
        check_texts(table.columns[place], name, file.name, problems, empty=True)
    problems.raise_any()
    texts = [[value if isinstance(value, str) else "" for value in table.columns[place]] for place in places]
    return table, texts


def write_table(file: Path, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
    """Write columns atomically, in the format of the file's suffix: .csv, .tsv, .jsonl or .parquet.

    Args:
        file: its path.
        names: names of the columns.
        columns: columns of equal length; strings, numbers, or other values read from a file.

    Raises:
        HarnessError: the file cannot be written, or the format has no type for the values of a column.
    """
    kind = file.suffix.lower()
    try:
        with atomic(file) as temporary:
            if kind == ".parquet":
                _write_parquet(temporary, names, columns)
                return
            with temporary.open("w", encoding="utf-8", newline="") as target:
                rows = zip(*columns, strict=True)
                if kind == ".jsonl":
                    for row in rows:
                        named = dict(zip(names, row, strict=True))
                        target.write(json.dumps(named, ensure_ascii=False, default=_plain) + "\n")
                    return
                writer = csv.writer(target, delimiter=separator_of(None, kind[1:]), lineterminator="\n")
                writer.writerow(map(_cell, names))
                writer.writerows([_cell(value) for value in row] for row in rows)
    except (OSError, UnicodeEncodeError) as error:
        raise HarnessError(f"{file} cannot be written: {error}.") from error


def _write_parquet(file: Path, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = []
    for name, column in zip(names, columns, strict=True):
        try:
            arrays.append(pa.array(column))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise HarnessError(
                f"The column {name!r} holds values of several types, which Parquet has no type for ({error}). Write to "
                "a .jsonl or .csv file."
            ) from error
    pq.write_table(pa.table(arrays, names=list(names)), file)


def _cell(value: Any) -> str:
    """Format a value as a CSV field; text that a spreadsheet would interpret as a formula is escaped."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) and not NUMBER.fullmatch(value) else value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(_plain(value))


def _plain(value: Any) -> Any:
    """Convert a value that JSON has no type for."""
    return value.hex() if isinstance(value, bytes) else value if isinstance(value, int | float) else str(value)
