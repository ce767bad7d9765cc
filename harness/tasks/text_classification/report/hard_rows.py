"""Hard rows: the test rows that a cell's runs misclassify most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.formatting.escape import plain
from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions

ROWS = 20  # maximum number shown
CANDIDATES = 500  # most frequently missed test rows, from which they are chosen
COLUMNS = (
    HardColumn("id", numeric=True),
    HardColumn("label"),
    HardColumn("predicted"),
    HardColumn("missed", numeric=True, falling=True),
    HardColumn("by other cells", numeric=True, falling=True),
)

Names = npt.NDArray[Any]


def hard_rows(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the rows that the runs of a cell miss most; see `FamilyReport`."""
    predicted, beside_it = known.column("prediction"), [each.column("prediction") for each in others]  # (S, n)
    wrong = predicted != known.labels
    missed = wrong.sum(axis=0)
    beside = np.sum([(each != known.labels).sum(axis=0) for each in beside_it], axis=0) if others else missed * 0
    total = sum(len(each.seeds) for each in others)
    # Order by misses of the cell; then by misses of the other cells, since such rows are hard and not just unlucky;
    # then by agreement on one wrong class, since the label may be wrong.
    candidates = np.lexsort((known.ids, -beside, -missed))[:CANDIDATES].tolist()
    agreed = {index: _agreed(index, known.labels, (predicted, *beside_it)) for index in candidates}
    order = sorted(candidates, key=lambda index: (-missed[index], -beside[index], -agreed[index], known.ids[index]))
    runs = len(known.seeds)
    rows = []
    for index in order[:ROWS]:
        if not missed[index]:
            continue
        classes = Counter(map(str, predicted[wrong[:, index], index])).most_common(3)
        times = missed[index] > 1
        rows.append(
            [
                HardCell(str(known.ids[index]), float(known.ids[index])),
                HardCell(plain(str(known.labels[index]), 60)),
                HardCell(", ".join(plain(name, 60) + (f" \u00d7{count}" if times else "") for name, count in classes)),
                HardCell(f"{missed[index]} of {runs}", float(missed[index])),
                HardCell(f"{beside[index]} of {total}", float(beside[index])) if total else HardCell("", ""),
            ]
        )
    everywhere = int(((missed == runs) & (beside == total)).sum())
    sentence = f"What its {plural(runs, 'run')} missed most."
    if everywhere:
        be = "is" if everywhere == 1 else "are"
        sentence += f" {plural(everywhere, 'test row')} {be} missed by every run of every cell: look at their labels."
    return HardRows(sentence, COLUMNS, rows)


def _agreed(index: int, labels: Names, cells: Sequence[Names]) -> int:
    """Count the runs, of all cells, that predict the most frequent wrong class of a test row."""
    given = Counter(name for predicted in cells for name in predicted[:, index] if name != labels[index])
    return max(given.values(), default=0)
