"""Reader of JSON rows: one object per line, a list of objects, or one of the layouts that pandas writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.readers.encodings import split_lines
from harness.data.text_values import half_characters, match
from harness.errors import HarnessError
from harness.formatting.examples import examples, short, some

HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape of one half of a character
Rows = list[Any]  # objects, or lists of values if the names come from elsewhere
SHAPES = (
    "A JSON object a line, one list of objects, columns as lists ({\"text\": [...], \"label\": [...]}), or what "
    "pandas.DataFrame.to_json writes is needed."
)  # fmt: skip


def read_json(
    text: str, kind: str, columns: Sequence[str] | None, wanted: Sequence[object], where: str
) -> tuple[list[str], list[list[Any]]]:
    """Read a JSON or JSON Lines file.

    Args:
        text: the file's content.
        kind: json | jsonl.
        columns: names of the values of rows that are lists; None if not given.
        wanted: names of the needed columns; they decide whether an object's keys name columns or rows.
        where: the file's name, for messages.

    Returns:
        Names and columns of equal length; a key that an object lacks gives None.

    Raises:
        HarnessError: the text is not JSON, nested too deeply, or without rows, or a needed value has half a character.
    """
    try:
        rows = _rows(text, kind, columns, wanted, where)
    except RecursionError:
        raise HarnessError(f"{where} is nested too deeply to hold rows. {SHAPES}") from None
    if bad := [number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)]:
        hint = ""
        if all(isinstance(row, list) for row in rows):
            hint = " They are lists: name their values with task.columns=[text,label], in their order."
        count = f"{len(bad)} rows are" if len(bad) > 1 or not hint else "1 row is"
        raise HarnessError(f"{where}: {count} not JSON objects: rows {some(bad)}.{hint}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if twice := sorted({name for row in rows if isinstance(row, _Object) for name in row.twice}):
        for name in twice:
            if any(match(each, [name]) for each in wanted):
                raise HarnessError(f"{where}: rows name {name!r} twice, which is ambiguous. Rename one of them.")
    read = [[row.get(name) for row in rows] for name in names]
    if HALF.search(text):
        needed = [
            place for place, name in enumerate(names) if not wanted or any(match(each, [name]) for each in wanted)
        ]
        told = filter(None, (half_characters(read[place], names[place], where) for place in needed))
        if problems := list(told):
            raise HarnessError(*problems)
    return names, read


class _Object(dict[str, Any]):
    """A JSON object that records its duplicate keys."""

    twice: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    names = [name for name, _ in pairs]
    marked = _Object(made)
    marked.twice = tuple({name for name in names if names.count(name) > 1})
    return marked


def _load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _rows(text: str, kind: str, columns: Sequence[str] | None, wanted: Sequence[object], where: str) -> Rows:
    if kind == "json" or text.lstrip().startswith("["):
        try:
            whole = _load(text)
        except ValueError as error:
            if kind == "json" and text.lstrip().startswith("{") and _first_line_is_whole(text):
                return _named(_by_line(text, where), columns, where)  # JSON lines in a file named .json
            if kind == "jsonl" and _first_line_is_whole(text):
                return _named(_by_line(text, where), columns, where)  # one list per line
            raise HarnessError(f"{where} is not valid JSON: {error}.") from error
        if kind == "jsonl" and isinstance(whole, list) and not all(isinstance(row, dict | list) for row in whole):
            return _named([whole], columns, where)
        return _named(_shape(whole, wanted, where), columns, where)
    if sum(bool(line.strip()) for line in split_lines(text)) == 1 or not _first_line_is_whole(text):
        try:
            whole = _load(text)  # one document, on one or several lines
        except ValueError:
            pass
        else:
            return _named(_shape(whole, wanted, where), columns, where)
    return _named(_by_line(text, where), columns, where)


def _first_line_is_whole(text: str) -> bool:
    try:
        _load(next((line for line in split_lines(text) if line.strip()), "null"))
    except ValueError:
        return False
    return True


def _by_line(text: str, where: str) -> Rows:
    rows = []
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            try:
                rows.append(_load(line))
            except ValueError as error:
                raise HarnessError(f"{where}, line {number} is not valid JSON: {error}. {SHAPES}") from error
    return rows


def _named(rows: Rows, columns: Sequence[str] | None, where: str) -> Rows:
    """Convert rows that are lists to objects with the given names, if any."""
    if columns is None or not rows or not all(isinstance(row, list) for row in rows):
        return rows
    if bad := [number for number, row in enumerate(rows, start=1) if len(row) != len(columns)]:
        raise HarnessError(
            f"{where}: {len(bad)} rows have another number of values than the {len(columns)} that have names: rows "
            f"{some(bad)}."
        )
    return [_object(list(zip(columns, row, strict=True))) for row in rows]


def _shape(whole: Any, wanted: Sequence[object], where: str) -> Rows:
    """Return the rows of one JSON document, whatever its layout."""
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        raise HarnessError(f"{where} holds {type(whole).__name__} {short(whole)} and no rows. {SHAPES}")
    names, data = whole.get("columns"), whole.get("data")
    if isinstance(names, list) and isinstance(data, list) and set(whole) <= {"columns", "data", "index", "name"}:
        return _named(data, [str(name) for name in names], where)
    named = _has(whole, wanted)
    if whole and all(isinstance(value, dict) for value in whole.values()):
        return _nested(whole, named)
    if isinstance(data, list) and _are_rows(data) and not named:
        return data  # {"schema": ..., "data": [...]}, {"data": [...], "meta": ...}
    return _lists(whole, named, where)


def _lists(whole: dict[str, Any], named: bool, where: str) -> Rows:
    """Return the rows of an object that contains columns as lists, or one list of rows; else the object is a row."""
    lists = [key for key, value in whole.items() if _are_rows(value)]
    if len(lists) > 1 and not named:
        raise HarnessError(
            f"{where} holds {len(lists)} lists of rows ({examples(lists)}), and one is needed. Write each into a file "
            "of its own, and name that."
        )
    if lists and not named:
        rows: Rows = whole[lists[0]]
        return rows
    return _columns(whole, where) if whole and all(isinstance(value, list) for value in whole.values()) else [whole]


def _has(names: Mapping[str, Any], wanted: Sequence[object]) -> bool:
    return bool(wanted) and all(match(each, names.keys()) is not None for each in wanted)


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _columns(whole: Mapping[str, list[Any]], where: str) -> Rows:
    lengths = {name: len(values) for name, values in whole.items()}
    if len(set(lengths.values())) > 1:
        told = [f"{name}: {length}" for name, length in lengths.items()]
        raise HarnessError(f"{where} holds columns of different lengths ({some(told)}): every row needs all values.")
    return [dict(zip(whole, row, strict=True)) for row in zip(*whole.values(), strict=True)]


def _nested(whole: Mapping[str, dict[str, Any]], by_column: bool) -> Rows:
    """Return the rows of {column: {row: value}} or {row: {column: value}}."""
    if not by_column:
        return list(whole.values())
    order = dict.fromkeys(row for values in whole.values() for row in values)
    return [{name: values.get(row) for name, values in whole.items()} for row in order]
