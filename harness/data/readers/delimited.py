"""Reader of delimited text: CSV and TSV with quoting, and lines of a text and a label without quoting."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence

from harness.data.readers.encodings import split_lines
from harness.data.text_values import match
from harness.errors import HarnessError
from harness.formatting.examples import some

TAB = ("\\t", "tab")  # spellings of a tab that survive a shell
DIRECTIVE = re.compile(r'"?sep=(?P<mark>[^\r\n])"?,*(\r\n|\n|\r)', re.IGNORECASE)  # optional first line, from Excel
ODD = {"\n": "a line end", "\r": "a line end", '"': "the quote"}


class Ragged(HarnessError):
    """Rows of a delimited file have the wrong number of fields, or its quotes are unbalanced."""


def separator_of(given: str | None, kind: str) -> str:
    """Return the separator of a file, as a character.

    Args:
        given: as configured; None: a tab for `tsv` and `lines`, else a comma.
        kind: the file's format.

    Raises:
        HarnessError: it is not one character (`lines`: one or more), or cannot be a separator.
    """
    if given is None:
        return "," if kind == "csv" else "\t"
    found = "\t" if given.casefold() in TAB else given
    if kind != "lines" and len(found) != 1:
        raise HarnessError(
            f"task.separator of a {kind} file must be one character, not {given!r}. A tab is task.separator=tab, a "
            "semicolon 'task.separator=\";\"'."
        )
    if found in ODD:
        raise HarnessError(f"task.separator cannot be {ODD[found]}.")
    return found


def read_delimited(
    text: str, kind: str, separator: str | None, quoting: bool, header: bool, width: int | None, where: str
) -> list[list[str]]:
    """Split a CSV or TSV file into fields.

    Args:
        text: the file's content.
        kind: csv | tsv.
        separator: as configured; None: from a first line `sep=;`, else the format's default.
        quoting: whether double quotes enclose fields.
        header: whether the first row contains names, which are stripped.
        width: fields per row; None: as in the first row.
        where: the file's name, for messages.

    Returns:
        At least one row, all of equal length. Spaces after separators belong to the fields, except in a file that has
        them after every separator.

    Raises:
        HarnessError: rows have different lengths, or quotes are unbalanced.
    """
    skipped = 0
    if directive := DIRECTIVE.match(text):
        separator = separator or directive["mark"]
        text, skipped = text[directive.end() :], 1
    mark = separator_of(separator, kind)
    csv.field_size_limit(sys.maxsize)  # the default of 128 KiB is too small for long documents

    def parsed(spaced: bool) -> list[list[str]]:
        return _parse(text, kind, mark, quoting, header, width, where, spaced, skipped)

    try:
        rows = parsed(False)
    except Ragged:
        if mark == " " or f"{mark} " not in text:
            raise
        try:
            return parsed(True)  # `a, "b, c"`: a quote after a space encloses the field only if the space is skipped
        except Ragged:
            pass
        raise
    return parsed(True) if mark != " " and _spaced(rows, header, quoting) else rows


def other_separator(names: Sequence[str]) -> str:
    """Return a hint if a header was read as one name and holds another separator; "" if not."""
    found = [mark for mark in (";", "\t", "|", ",") if mark in names[0]] if len(names) == 1 else []
    if not found:
        return ""
    if found[0] == "\t":
        return " The header looks separated by a tab: set task.separator=tab."
    return f" The header looks separated by {found[0]!r}: set 'task.separator=\"{found[0]}\"'."


def _spaced(rows: list[list[str]], header: bool, quoting: bool) -> bool:
    """Return whether the file has a space after every separator; it then belongs to no field."""
    body = rows[1:] if header else rows
    return any(
        all(row[column].startswith(" ") for row in body)
        and (not quoting or any(row[column].lstrip(" ").startswith('"') for row in body))
        for column in range(1, len(rows[0]))
        if body
    )


def _parse(
    text: str, kind: str, mark: str, quoting: bool, header: bool, width: int | None, where: str, spaced: bool,
    skipped: int,
) -> list[list[str]]:  # fmt: skip
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=mark,
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        skipinitialspace=spaced,
        strict=True,
    )
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not row:
                continue  # blank line
            expected = width or (len(rows[0]) if rows else len(row))
            if len(row) != expected:
                advice = " A field that holds the separator must be enclosed in double quotes." if quoting else ""
                raise Ragged(
                    f"{where}, line {reader.line_num + skipped}: {len(row)} fields where {expected} are expected. The "
                    f"separator is {mark!r} (task.separator).{advice}"
                )
            rows.append([name.strip() for name in row] if header and not rows else row)
    except csv.Error as error:
        advice = (header and rows and other_separator(rows[0])) or (
            " A double quote inside an enclosed field must be doubled; where quotes enclose nothing, set "
            "task.quoting=false."
        )
        raise Ragged(f"{where}, line {reader.line_num + skipped}: {error}.{advice}") from error
    if not rows:
        raise HarnessError(f"{where} holds no rows: at least one row with a text and a label is needed.")
    return rows


def read_lines(
    text: str, separator: str | None, columns: Sequence[str] | None, label: object, where: str
) -> list[list[str]]:
    """Split lines into two fields; the text may contain the separator. With one column, each line is a text.

    Args:
        text: the file's content.
        separator: as configured; None: a tab.
        columns: names of the fields.
        label: name of the label field.
        where: the file's name, for messages.

    Raises:
        HarnessError: there are not two names, or lines lack the separator.
    """
    mark, names = separator_of(separator, "lines"), list(columns or ())
    lines = split_lines(text)
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(names) == 1 and label is None:
        return [[line] for _, line in numbered]
    if len(names) != 2:
        raise HarnessError(
            "A file of format lines has two fields a line: name them in their order with task.columns=[text,label] or "
            f"task.columns=[label,text], not {names}."
        )
    if bad := [number for number, line in numbered if mark not in line]:
        raise HarnessError(
            f"{where}: {len(bad)} of {len(numbered)} lines lack the separator {mark!r}: line {some(bad)}. Set "
            "task.separator, or correct them."
        )
    # A text may contain the separator, a label may not: split off the label at the end or the beginning of the line.
    label_last = match(label, names) == names[1]
    return [line.rsplit(mark, 1) if label_last else line.split(mark, 1) for _, line in numbered]
