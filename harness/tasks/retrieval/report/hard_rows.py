"""Hard rows: the test queries whose relevant passage is ranked lowest, and what was found instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions

ROWS = 20  # maximum number shown
LONGEST = 160  # characters of a text
COLUMNS = (
    HardColumn("query"),
    HardColumn("rank", numeric=True, falling=True),
    HardColumn("rank in other cells", numeric=True, falling=True),
    HardColumn("training queries of the passage", numeric=True),
    HardColumn("right passage"),
    HardColumn("found instead"),
)


def hard_rows(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the queries whose first relevant passage has the largest rank, mean of a cell's runs; see `FamilyReport`."""
    ranks = known.column("rank").mean(axis=0)
    beside = [each.column("rank").mean(axis=0) for each in others]
    queries, counts = known.column("query")[0], known.column("training_queries")[0]
    relevant, found = known.column("relevant")[0], known.column("first")
    order = [row for row in np.lexsort((known.ids, -ranks)) if ranks[row] > 1][:ROWS]
    rows = [
        [
            HardCell(_cut(queries[row])),
            _number(ranks[row]),
            _number(np.mean([each[row] for each in beside])) if beside else HardCell("", ""),
            _number(counts[row]),
            HardCell(_cut(relevant[row])),
            HardCell(_cut(Counter(map(str, found[:, row])).most_common(1)[0][0])),
        ]
        for row in order
    ]
    sentence = f"The queries whose passage is ranked lowest, means of its {plural(len(known.seeds), 'run')}."
    unseen = counts == 0
    if unseen.any() and not unseen.all():
        first = known.column("score_recall_at_1").mean(axis=0)
        sentence += (
            f" {int(unseen.sum())} of {len(unseen)} queries ask for a passage without a training query: recall at 1 is "
            f"{np.mean(first[unseen]):.2%} for them, and {np.mean(first[~unseen]):.2%} for the others."
        )
    return HardRows(sentence, COLUMNS, rows, texts=True)


def _cut(text: object) -> str:
    whole = " ".join(str(text).split())
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 3]}..."


def _number(value: float) -> HardCell:
    return HardCell(f"{float(value):.4g}", float(value))
