"""Cells that were not compared, but may be the best: while there are any, no cell can be recommended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.report.cells.cell_summary import CellSummary

if TYPE_CHECKING:
    from harness.statistics import Interval

ERRORS = 4.0  # standard errors below the best from which a cell is taken to be worse: no interval is that wide


def rivals_missing(
    rows: Sequence[CellSummary], compared: Sequence[CellSummary], intervals: Mapping[int, Interval]
) -> list[CellSummary]:
    """Return cells with a test score that were not compared and whose score leaves open that they are the best.

    Args:
        rows: the cells of a comparison group.
        compared: those that were compared.
        intervals: of their test scores, by `id()`. A cell without one, because its predictions are missing, is given
            the largest standard error of the others, or that of its seeds if this is larger.
    """
    means = [row.better(row.test_mean) for row in compared if row.test_mean is not None]
    if not means:
        return []
    largest = max((found.error for found in intervals.values()), default=math.inf)
    best = max(means)

    def error(row: CellSummary) -> float:
        if id(row) in intervals:
            return intervals[id(row)].error
        seeds = row.test_std / math.sqrt(len(row.seeds)) if row.test_std is not None else 0.0
        return max(largest, seeds)

    inside = {id(row) for row in compared}
    return [
        row
        for row in rows
        if id(row) not in inside
        and row.test_mean is not None
        and row.better(row.test_mean) + ERRORS * math.hypot(error(row), largest) >= best
    ]
