"""Forest plot with one mark per row: intervals on a scale that all rows of a comparison group share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.tables.columns import TableRow

WIDTH, HEIGHT = 110.0, 14.0
_PAD = 4.0


@dataclass(frozen=True)
class Mark:
    """Position of a row's interval, in SVG user units.

    Attributes:
        low, high, mean: x coordinates.
        clipped: whether the interval extends beyond the scale.
        inside: whether the mean is on the scale.
        best: x coordinate of the mean of the group's best row, for comparison.
    """

    low: float
    high: float
    mean: float
    clipped: bool
    inside: bool
    best: float


def marks(cases: Sequence[TableRow]) -> dict[int, Mark]:
    """Lay out every interval, by the `id()` of its row.

    The scale spans the better three quarters of a group's rows, so that one cell that failed to learn does not compress
    the rest; what lies beyond is drawn at the edge.
    """
    groups: dict[tuple[str, str, str], list[TableRow]] = {}
    for case in cases:
        if case.judgement.interval is not None:
            groups.setdefault(case.question.key, []).append(case)
    found = {}
    for members in groups.values():
        scale = _Scale(members)
        best = max(members, key=lambda case: case.row.better(case.row.test_mean or 0.0))
        for case in members:
            interval = case.judgement.interval
            assert interval is not None
            low, high = scale.place(interval.low), scale.place(interval.high)
            outside = interval.low < scale.low or interval.high > scale.high
            inside = scale.low <= interval.mean <= scale.high
            found[id(case.row)] = Mark(low, high, scale.place(interval.mean), outside, inside, scale.place(_mean(best)))
    return found


class _Scale:
    def __init__(self, members: Sequence[TableRow]) -> None:
        ordered = sorted(members, key=lambda case: -case.row.better(case.row.test_mean or 0.0))
        kept = [case.judgement.interval for case in ordered[: max(3, math.ceil(0.75 * len(ordered)))]]
        self.low = min(interval.low for interval in kept if interval is not None)
        self.high = max(interval.high for interval in kept if interval is not None)

    def place(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return round(_PAD + (WIDTH - 2 * _PAD) * min(1.0, max(0.0, share)), 1)


def _mean(case: TableRow) -> float:
    return case.row.test_mean if case.row.test_mean is not None else 0.0
