"""Hard rows: the test rows that the runs of each comparison group's chosen cell predict worst."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api.family import family_of, part
from harness.report.analysis.verdicts import ComparisonGroup, Evidence
from harness.report.cells.cell_summary import CellSummary
from harness.report.family_report import HardRows
from harness.report.reading.predictions import Unreadable


@dataclass(frozen=True)
class HardRowsOfCell:
    """The hard rows of a cell of a comparison group."""

    question: ComparisonGroup
    row: CellSummary
    content: HardRows


def hard_rows(evidence: Evidence) -> list[HardRowsOfCell]:
    """Find the hard rows of the cell that each group's answer names; none if predictions are unreadable."""
    found = []
    for question in evidence.questions:
        row = question.choice
        known = evidence.scores_of(row) if row is not None else None
        if row is None or known is None:
            continue
        others = [
            other
            for each in question.compared
            if each is not row and (other := evidence.scores_of(each)) is not None and other.same_rows(known)
        ]
        try:
            content = part(family_of(known.family).report).hard_rows(known, others)
        except Unreadable:
            continue
        if content is not None:
            found.append(HardRowsOfCell(question, row, content))
    return found
