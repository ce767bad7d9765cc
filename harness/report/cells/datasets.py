"""Data sets of a report: questions that share a task or its test rows are no independent evidence across tasks."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.cells.cell_summary import CellSummary, facts
from harness.report.cells.row_predictions import text_digests


def by_dataset(questions: Sequence[Sequence[CellSummary]]) -> list[list[int]]:
    """Group questions by data set.

    Draws, shots and metrics of one task are questions of one data set, and so are tasks whose records tell that their
    data or the texts of their test rows are the same.

    Args:
        questions: the cells of each comparison group.

    Returns:
        The indices of the questions of each data set, in their order.
    """
    found: list[tuple[set[str], list[int]]] = []
    for index, rows in enumerate(questions):
        marks, members = _marks(rows), [index]
        for other in [each for each in found if each[0] & marks]:
            marks |= other[0]
            members = [*other[1], *members]
            found.remove(other)
        found.append((marks, sorted(members)))
    return sorted((members for _, members in found), key=min)


def _marks(rows: Sequence[CellSummary]) -> set[str]:
    """Return what identifies the data of a question; questions that share any of it share their data set."""
    marks = {f"task {row.cell.task}" for row in rows}
    for row in rows:
        marks |= {f"texts {digest}" for digest in text_digests(row)}
        prints = (facts(record).get("fingerprint") for record in row.evaluated)
        marks |= {f"data {known}" for known in prints if known}
    return marks
