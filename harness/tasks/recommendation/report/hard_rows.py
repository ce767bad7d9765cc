"""Hard rows: the test users whose next item is ranked lowest."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions

ROWS = 20  # maximum number shown
SHOWN = 3  # items of a list
COLUMNS = (
    HardColumn("user"),
    HardColumn("rank", numeric=True, falling=True),
    HardColumn("rank in other cells", numeric=True, falling=True),
    HardColumn("users of the item", numeric=True),
    HardColumn("history", numeric=True),
    HardColumn("next"),
    HardColumn("recommended"),
    HardColumn("last of the history"),
)


def hard_rows(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the rows whose first target has the largest rank, mean of a cell's runs; see `FamilyReport`."""
    ranks = known.column("rank").mean(axis=0)
    beside = [each.column("rank").mean(axis=0) for each in others]
    users, lengths = known.column("user")[0], known.column("history_length")[0]
    counts, history = known.column("target_users")[0], known.column("history")[0]
    targets, top = known.column("target")[0], known.column("top")[0]
    order = np.lexsort((known.ids, -ranks))[:ROWS]
    rows = [
        [
            HardCell(str(users[row])),
            _number(ranks[row]),
            _number(np.mean([each[row] for each in beside])) if beside else HardCell("", ""),
            _number(counts[row]),
            _number(lengths[row]),
            HardCell("; ".join(json.loads(targets[row]))),
            HardCell("; ".join(json.loads(top[row])[:SHOWN])),
            HardCell("; ".join(json.loads(history[row])[-SHOWN:])),
        ]
        for row in order
    ]
    cold = counts == 0
    sentence = f"The users whose next item is ranked lowest, means of its {plural(len(known.seeds), 'run')}."
    if cold.any():
        sentence += (
            f" {int(cold.sum())} of {len(cold)} users turn to a cold item, which no training user has: without them "
            f"recall at 10 is {np.mean(known.column('rank')[:, ~cold] <= 10):.2%}."
        )
    return HardRows(sentence, COLUMNS, rows, texts=True)


def _number(value: float) -> HardCell:
    return HardCell(f"{float(value):.4g}", float(value))
