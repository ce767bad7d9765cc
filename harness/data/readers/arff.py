"""Reader of dense ARFF (Weka's attribute-relation file format) with string attributes, which SciPy's reader refuses."""

from __future__ import annotations

import re

from harness.data.readers.encodings import split_lines
from harness.errors import HarnessError

_NAME = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)""", re.IGNORECASE)
# Values are surrounded by spaces and tabs only: U+0085 and similar characters belong to texts.
_VALUE = re.compile(r"""[ \t]*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,'"]*?))[ \t]*(?:,|$)""", re.DOTALL)


def read_arff(text: str, where: str) -> tuple[list[str], list[list[str | None]]]:
    """Parse ARFF text.

    Args:
        text: the file's content.
        where: the file's name, for messages.

    Returns:
        Attribute names and columns. Values are strings, numbers included; a missing one (`?`) is None.

    Raises:
        HarnessError: there are no attributes, a line cannot be parsed, or the data are in the sparse form.
    """
    names: list[str] = []
    rows: list[list[str | None]] = []
    in_data = False
    for number, line in enumerate(split_lines(text), start=1):
        stripped = line.strip(" \t\r\f\v")
        if not stripped or stripped.startswith("%"):
            continue
        if not in_data:
            if match := _NAME.match(stripped):
                names.append(_unquote(match[1]))
            in_data = stripped.lower() == "@data"
            continue
        if stripped.startswith("{"):
            raise HarnessError(f"{where}, line {number}: sparse ARFF data cannot be read. Save the file as CSV.")
        row = _values(stripped, f"{where}, line {number}")
        if len(row) != len(names):
            raise HarnessError(f"{where}, line {number}: {len(row)} values where {len(names)} attributes are declared.")
        rows.append(row)
    if not names or not in_data:
        raise HarnessError(f"{where} is not ARFF: it needs @attribute lines and a line @data.")
    return names, [[row[index] for row in rows] for index in range(len(names))]


def _values(line: str, where: str) -> list[str | None]:
    values: list[str | None] = []
    position = 0
    while True:
        match = _VALUE.match(line, position)
        if match is None:
            raise HarnessError(f"{where}: cannot be parsed from {line[position : position + 30]!r} on.")
        single, double, bare = match.groups()
        quoted = single if single is not None else double
        values.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else None if bare == "?" else bare)
        position = match.end()
        if not match[0].endswith(","):
            return values


def _unquote(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name[0] in "'\"" else name
