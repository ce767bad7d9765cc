"""Interactions as a table of users, items and times, read from files and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.data.readers.file_formats import FileFormat, read_file
from harness.data.text_values import as_text, plain
from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples

COLUMNS = ("user", "item", "time", "rating")


@dataclass(frozen=True)
class ColumnNames:
    """Names of the columns of a file of interactions; None for one that it does not have."""

    user: Any = "user"
    item: Any = "item"
    time: Any = "time"
    rating: Any = None

    def named(self) -> dict[str, Any]:
        """Return the columns that the file has: {user | item | time | rating: its name there}."""
        return {name: value for name in COLUMNS if (value := getattr(self, name)) is not None}


def read_interactions(path: Path, columns: ColumnNames, how: FileFormat, notes: list[str]) -> pd.DataFrame:
    """Read a file of interactions.

    Args:
        path: the file.
        columns: its columns.
        how: its format.
        notes: collects sentences about the file.

    Returns:
        Columns `user` and `item` (texts), `time` (float64 seconds; the row's number without a column of times),
        `rating` (float64, nan without one) and `row` (its number from 0), in the order of the file.

    Raises:
        HarnessError: the file cannot be read, or values are missing or no times or numbers.
    """
    wanted = columns.named()
    found = read_file(path, list(wanted.values()), how, notes)
    raw = {name: found[str(plain(value))] for name, value in wanted.items()}
    return checked(raw, wanted, path.name)


def checked(raw: Mapping[str, Sequence[Any]], names: Mapping[str, Any], where: str) -> pd.DataFrame:
    """Check raw columns; see `read_interactions`.

    Args:
        raw: values by user, item, time, rating.
        names: names of these columns in the source, for messages.
        where: name of the source.
    """
    problems, rows = Problems(), len(raw["user"])
    for name in ("user", "item"):
        missing = [row for row, value in enumerate(raw[name], 1) if _is_missing(value)]
        odd = [row for row, value in enumerate(raw[name], 1) if isinstance(value, list | dict | bytes)]
        problems.check(
            not missing,
            f"{where}: {len(missing)} of {rows} rows have no {name} in column {names[name]!r}: rows {_some(missing)}. "
            "Fill or remove them.",
        )
        problems.check(
            not odd, f"{where}: column {names[name]!r} holds names of {name}s, and rows {_some(odd)} hold none."
        )
    times = _times(raw["time"], names["time"], where, problems) if "time" in raw else np.arange(rows, dtype=np.float64)
    ratings = np.full(rows, np.nan)
    if "rating" in raw:
        ratings = _numbers(raw["rating"], names["rating"], where, problems)
    problems.raise_any()
    texts = {name: [str(_whole(value)) for value in raw[name]] for name in ("user", "item")}
    return pd.DataFrame({**texts, "time": times, "rating": ratings, "row": np.arange(rows)})


def read_titles(path: Path, item: Any, text: Any, how: FileFormat, notes: list[str]) -> dict[str, str]:
    """Read the text of each item: {item: text}.

    Raises:
        HarnessError: the file cannot be read, or names an item twice.
    """
    found = read_file(path, [item, text], how, notes)
    names = [str(_whole(value)) for value in found[str(plain(item))]]
    if len(set(names)) < len(names):
        twice = pd.Series(names)
        raise HarnessError(
            f"{path.name} has several rows for an item: {examples(sorted(set(twice[twice.duplicated()])))}. Keep one "
            "of each."
        )
    return {
        name: "" if _is_missing(each) else str(each) for name, each in zip(names, found[str(plain(text))], strict=True)
    }


def _times(values: Sequence[Any], name: Any, where: str, problems: Problems) -> npt.NDArray[np.float64]:
    """Convert times, numbers or dates, to seconds."""
    numbers = pd.to_numeric(pd.Series([as_text(value) for value in values], dtype=object), errors="coerce")
    found = numbers.to_numpy(dtype=np.float64)
    unread = ~np.isfinite(found)
    if unread.any():
        rest = [
            value if left and not isinstance(value, bool) else None for value, left in zip(values, unread, strict=True)
        ]
        with_dates = pd.to_datetime(pd.Series(rest, dtype=object), errors="coerce", utc=True, format="mixed")
        good = with_dates.notna().to_numpy() & unread
        if good.any() and not unread.all():
            problems.add(
                f"{where}: column {name!r} holds {int((~unread).sum())} numbers and {int(good.sum())} dates, whose "
                "order is unknown. Write all times in one way."
            )
            return found
        found = np.where(good, with_dates.dt.as_unit("us").astype("int64").to_numpy() / 1e6, found)
    wrong = np.flatnonzero(~np.isfinite(found)).tolist()
    problems.check(
        not len(wrong),
        f"{where}: {len(wrong)} of {len(found)} times in column {name!r} are neither numbers nor dates: "
        f"{examples([values[row] for row in wrong])} (rows {_some([row + 1 for row in wrong])}). Write "
        "seconds, such as 964982703, or dates, such as 2024-05-31 18:00:00; without times set task.time=null, and the "
        "order of the rows counts.",
    )
    return found


def _numbers(values: Sequence[Any], name: Any, where: str, problems: Problems) -> npt.NDArray[np.float64]:
    found = pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(found)).tolist()
    problems.check(
        not len(wrong),
        f"{where}: {len(wrong)} of {len(found)} ratings in column {name!r} are no numbers: "
        f"{examples([values[row] for row in wrong])} (rows {_some([row + 1 for row in wrong])}). Correct them, or "
        "leave ratings out with task.rating=null.",
    )
    return found


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)  # noqa: PLR0124 -- NaN


def _whole(value: Any) -> Any:
    """Return a whole number as an int: Parquet reads a column of numbers with gaps as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _some(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:3])) + (", ..." if len(rows) > 3 else "")
