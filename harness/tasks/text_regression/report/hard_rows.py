"""Hard rows: the test rows with the largest errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions

ROWS = 20  # maximum number shown
COLUMNS = (
    HardColumn("id", numeric=True),
    HardColumn("number", numeric=True),
    HardColumn("predicted", numeric=True),
    HardColumn("error", numeric=True, falling=True),
    HardColumn("error of other cells", numeric=True, falling=True),
)


def hard_rows(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the rows with the largest mean absolute errors of a cell's runs; see `FamilyReport`."""
    predicted = known.column("prediction")
    errors = np.abs(predicted - known.labels).mean(axis=0)
    beside = [np.abs(each.column("prediction") - each.labels).mean(axis=0) for each in others]
    order = np.lexsort((known.ids, -errors))[:ROWS]
    rows = [
        [
            HardCell(str(known.ids[index]), float(known.ids[index])),
            _number(known.labels[index]),
            _number(predicted[:, index].mean()),
            _number(errors[index]),
            _number(np.mean([each[index] for each in beside])) if beside else HardCell("", ""),
        ]
        for index in order
    ]
    sentence = f"The largest errors of its {plural(len(known.seeds), 'run')}, means of their absolute values."
    return HardRows(sentence, COLUMNS, rows)


def _number(value: float) -> HardCell:
    return HardCell(f"{float(value):.4g}", float(value))
