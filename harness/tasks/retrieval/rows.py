"""Queries with their passages, and collections of passages, read from files and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data.readers.advice import without_settings
from harness.data.readers.file_formats import FileFormat, read_file
from harness.data.readers.rows import check_texts, group_names, label_text
from harness.data.text_values import plain
from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples, some


@dataclass(frozen=True)
class ColumnNames:
    """Names of the columns of a file of queries.

    Attributes:
        query, passage: of the texts of queries, and of the passages that are relevant to them.
        negatives: of passages that are not.
        gain: of how relevant the passage is; None: each is as relevant as another.
        group: see `TextSource`; None without.
    """

    query: Any
    passage: Any
    negatives: tuple[Any, ...] = ()
    gain: Any = None
    group: Any = None

    @property
    def keys(self) -> dict[Any, str]:
        """The key that names a column, where it is neither `task.text` nor `task.label`."""
        others = {self.gain: "task.gain", self.group: "task.group"}
        return {**dict.fromkeys(self.negatives, "task.negatives"), **others}

    @property
    def wanted(self) -> list[Any]:
        """All columns, that of the passages last."""
        others = [name for name in (self.gain, self.group) if name is not None]
        return [self.query, *self.negatives, *others, self.passage]


def read_queries(path: Path, names: ColumnNames, how: FileFormat) -> pd.DataFrame:
    """Read a file of queries; see `of_columns`. Its `attrs["notes"]` are sentences about the file."""
    notes: list[str] = []
    columns = read_file(path, names.wanted, how, notes, names.keys)
    frame = of_columns(columns, names, path.name)
    frame.attrs["notes"] = notes
    return frame


def of_columns(columns: Mapping[str, Sequence[Any]], names: ColumnNames, where: str) -> pd.DataFrame:
    """Check raw columns.

    Args:
        columns: values by name of the column.
        names: of the columns.
        where: name of the source, for messages.

    Returns:
        Columns `text` (the query), `passages` and `negatives` (tuples of texts, or of ids), `gain` (float64), `id` (the
        number of the row, from 0) and, with groups, `group`; a row for each of the source.

    Raises:
        HarnessError: a query or passage is missing or no text, or a gain no number of 0 or more.
    """
    problems = Problems()
    queries = columns[str(plain(names.query))]
    check_texts(queries, str(plain(names.query)), where, problems)
    relevant = _passages(columns[str(plain(names.passage))], names.passage, where, problems, needed=True)
    irrelevant: list[tuple[str, ...]] = [()] * len(queries)
    for name in names.negatives:
        found = _passages(columns[str(plain(name))], name, where, problems)
        irrelevant = [one + two for one, two in zip(irrelevant, found, strict=True)]
    gains = [1.0] * len(queries)
    if names.gain is not None:
        gains = _gains(columns[str(plain(names.gain))], names.gain, where, problems)
    frame: dict[str, Any] = {"text": queries, "passages": relevant, "negatives": irrelevant}
    if names.group is not None:
        try:
            frame["group"] = group_names(columns[str(plain(names.group))], names.group, where)
        except HarnessError as error:
            problems.extend(error)
    problems.raise_any()
    found_ = {name: pd.Series(list(values), dtype="object") for name, values in frame.items()}
    return pd.DataFrame(found_ | {"gain": pd.Series(gains, dtype="float64"), "id": pd.Series(range(len(queries)))})


def read_collection(path: Path, id_: Any, text: Any, notes: list[str]) -> dict[str, str]:
    """Read a file of passages: {id: text}, in its order.

    Raises:
        HarnessError: an id or a text is missing, or an id occurs twice.
    """
    problems = Problems()
    try:
        found = read_file(path, [id_, text], FileFormat(), notes)
    except HarnessError as error:
        columns = "task.passage_id and task.passage_text"
        raise HarnessError(*(without_settings(each, columns, "an id and a text") for each in error.problems)) from error
    texts, names = found[str(plain(text))], [label_text(value) for value in found[str(plain(id_))]]
    check_texts(texts, str(plain(text)), path.name, problems)
    problems.messages[:] = [each.replace("task.text", "task.passage_text") for each in problems.messages]
    nameless = [row for row, name in enumerate(names, 1) if not name]
    problems.check(
        not nameless,
        f"{path.name}: {len(nameless)} of {len(names)} passages have no id in column {plain(id_)!r}: rows "
        f"{some(nameless)}. Give each an id of its own.",
    )
    twice = pd.Series([name for name in names if name])
    several = sorted(set(twice[twice.duplicated()]))
    problems.check(
        not several,
        f"{path.name} has several passages with the id {examples(several)}: ids name one passage each. Give each an id "
        "of its own, or name another column with task.passage_id.",
    )
    problems.raise_any()
    return dict(zip(names, texts, strict=True))


def _passages(
    values: Sequence[Any], name: Any, where: str, problems: Problems, needed: bool = False
) -> list[tuple[str, ...]]:
    """Return the texts, or ids, of each row: of a list, all."""
    found: list[tuple[str, ...]] = []
    missing, empty, odd = list[int](), list[int](), list[int]()
    for row, value in enumerate(values, 1):
        several = list(value) if isinstance(value, list | tuple) else [] if _is_missing(value) else [value]
        texts = [label_text(each) for each in several]
        if needed and not texts:
            missing.append(row)
        elif not all(texts):
            empty.append(row)
        if any(isinstance(each, dict | bytes | list | tuple) for each in several):
            odd.append(row)
        found.append(tuple(texts))
    column, counted = plain(name), "(counted from 1, without a header)"
    problems.check(
        not missing,
        f"{where}: {len(missing)} of {len(values)} queries have no passage in column {column!r}: rows {some(missing)} "
        f"{counted}. Fill or remove them.",
    )
    problems.check(
        not empty,
        f"{where}: column {column!r} has empty passages in rows {some(empty)} {counted}. Fill or remove them.",
    )
    problems.check(
        not odd,
        f"{where}: a passage is a text, an id or a list of some, and column {column!r} holds something else in rows "
        f"{some(odd)} {counted}.",
    )
    return found


def _gains(values: Sequence[Any], name: Any, where: str, problems: Problems) -> list[float]:
    found = [_number(value) for value in values]
    wrong = [row for row, gain in enumerate(found, 1) if not (math.isfinite(gain) and gain >= 0)]
    problems.check(
        not wrong,
        f"{where}: a gain is a number of 0 (irrelevant) or more, and {len(wrong)} of {len(found)} in column "
        f"{plain(name)!r} are not: {examples([str(values[row - 1]) for row in wrong])} (rows {some(wrong)}). Correct "
        "them, or leave gains out with task.gain=null.",
    )
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""
