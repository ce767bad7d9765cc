"""Hard examples: the test rows that a cell's runs misclassify most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.analysis.cell_summary import CellSummary
from harness.report.analysis.verdicts import ComparisonGroup, Evidence
from harness.report.reading.predictions import Predictions

EXAMPLES = 20  # maximum number shown
CANDIDATES = 500  # most frequently missed test rows, from which they are chosen


@dataclass(frozen=True)
class Example:
    """A test row that a cell misclassifies.

    Attributes:
        id: its row number in the source.
        label: the true class.
        predicted: the wrong classes, each with the number of runs that predicted it, most frequent first.
        missed: number of the cell's runs that misclassify it.
        others: number of the other cells' runs that misclassify it, and how many runs there are.
    """

    id: int
    label: str
    predicted: list[tuple[str, int]]
    missed: int
    others: tuple[int, int]


@dataclass(frozen=True)
class Hardest:
    """Hard examples of a cell.

    Attributes:
        runs: number of the cell's runs.
        everywhere: number of test rows that every run of every cell misclassifies; their labels may be wrong.
    """

    question: ComparisonGroup
    row: CellSummary
    runs: int
    examples: list[Example]
    everywhere: int


def hardest(evidence: Evidence) -> list[Hardest]:
    """Find the hard examples of each group's recommended cell, else of its best; none if predictions are unreadable."""
    found = []
    for question in evidence.questions:
        row = question.recommended or question.best
        known = evidence.scores_of(row) if row is not None else None
        if row is None or known is None:
            continue
        others = [
            other
            for each in question.compared
            if each is not row and (other := evidence.scores_of(each)) is not None and other.same_rows(known)
        ]
        found.append(_hardest(question, row, known, others))
    return found


def _hardest(question: ComparisonGroup, row: CellSummary, known: Predictions, others: Sequence[Predictions]) -> Hardest:
    wrong = known.predicted != known.labels  # (S, n)
    missed = wrong.sum(axis=0)
    beside = np.sum([(each.predicted != each.labels).sum(axis=0) for each in others], axis=0) if others else missed * 0
    total = sum(len(each.seeds) for each in others)
    # Order by misses of the cell; then by misses of the other cells, since such rows are hard and not just unlucky;
    # then by agreement on one wrong class, since the label may be wrong.
    candidates = np.lexsort((known.ids, -beside, -missed))[:CANDIDATES].tolist()
    agreed = {index: _agreed(index, (known, *others)) for index in candidates}
    order = sorted(candidates, key=lambda index: (-missed[index], -beside[index], -agreed[index], known.ids[index]))
    examples = [
        Example(
            id=int(known.ids[index]),
            label=str(known.labels[index]),
            predicted=Counter(map(str, known.predicted[wrong[:, index], index])).most_common(3),
            missed=int(missed[index]),
            others=(int(beside[index]), total),
        )
        for index in order[:EXAMPLES]
        if missed[index]
    ]
    runs = len(known.seeds)
    everywhere = int(((missed == runs) & (beside == total)).sum())
    return Hardest(question, row, runs, examples, everywhere)


def _agreed(index: int, cells: Sequence[Predictions]) -> int:
    """Count the runs, of all cells, that predict the most frequent wrong class of a test row."""
    given = Counter(name for each in cells for name in each.predicted[:, index] if name != each.labels[index])
    return max(given.values(), default=0)
