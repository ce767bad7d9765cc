"""What a task family adds to reports. Families make a `FamilyReport` in their own folder; it imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.api.metric import RowScores


class HardColumn(NamedTuple):
    """A column of a table of hard rows.

    Attributes:
        head: its heading.
        numeric: whether it has numbers.
        falling: whether a click first sorts it from the largest down.
    """

    head: str
    numeric: bool = False
    falling: bool = False


class HardCell(NamedTuple):
    """A value in a table of hard rows.

    Attributes:
        text: its text.
        sort: what its column sorts by; None: the text.
        picture: a data URL of a small image that stands before the text; None without one.
        sound: a data URL of a short sound that can be played beside the text; None without one.
        large: whether the picture is shown in its own size, and not as a thumbnail.
    """

    text: str
    sort: float | str | None = None
    picture: str | None = None
    sound: str | None = None
    large: bool = False


@dataclass(frozen=True)
class HardRows:
    """The test rows that a cell's runs predict worst.

    Attributes:
        sentence: what the table shows.
        columns: its columns.
        rows: its rows, the hardest first.
        texts: whether they hold texts of the data.
    """

    sentence: str
    columns: tuple[HardColumn, ...]
    rows: Sequence[Sequence[HardCell]]
    texts: bool = False


@dataclass(frozen=True)
class FamilyReport:
    """The parts of a report that only one family has.

    Attributes:
        figures: by the start of their files' names; each draws a figure of a comparison group, a
            `harness.report.figures.base.Subject`, or returns None without data.
        hard_rows: finds the hard rows of a cell from its own `Predictions` and those of other cells on the same rows.
        stored_scores: scores (n,) of a metric from an Arrow table of predictions without scores, in its order; the last
            argument names the file for messages. Only for a family whose files once had none.
        baseline: scores (n,) of a metric that a model without any knowledge has, from the labels (n,) as predictions
            hold them: the reference for runs that failed or collapsed. It raises `Undefined` if the metric has no value
            for such a model, and KeyError for an unknown metric.
    """

    figures: Mapping[str, Callable[[Any], Any]]
    hard_rows: Callable[[Any, Sequence[Any]], HardRows | None]
    stored_scores: Callable[[Any, str, str], RowScores] | None = None
    baseline: Callable[[Any, str], RowScores] | None = None
