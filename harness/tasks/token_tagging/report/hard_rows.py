"""Hard sentences: the test rows with the most wrong entities, with words in place."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions
from harness.tasks.token_tagging.entities import entities, is_strict
from harness.tasks.token_tagging.report.errors_by_type import outcomes
from harness.tasks.token_tagging.report.outcomes import OUTCOMES

ROWS = 20  # maximum number shown
COLUMNS = (
    HardColumn("id", numeric=True),
    HardColumn("entities"),
    HardColumn("predicted"),
    HardColumn("errors", numeric=True, falling=True),
    HardColumn("errors of other cells", numeric=True, falling=True),
    HardColumn("sentence"),
)


def hard_rows(known: Predictions, others: Sequence[Predictions]) -> HardRows:
    """Find the rows with the most missed and wrong entities, means of a cell's runs; see `FamilyReport`."""
    errors = _errors(known)
    beside = [_errors(each) for each in others]
    words = [json.loads(row) for row in known.column("tokens")[0]]
    seen = [json.loads(tags) for tags in known.column("prediction")[0]]
    true = [json.loads(tags) for tags in known.labels]
    strict = is_strict(true)
    order = [row for row in np.lexsort((known.ids, -errors))[:ROWS] if errors[row] > 0]
    rows = [
        [
            HardCell(str(known.ids[row]), float(known.ids[row])),
            HardCell(_listed(words[row], true[row], strict)),
            HardCell(_listed(words[row], seen[row], strict)),
            HardCell(f"{errors[row]:.3g}", float(errors[row])),
            _mean([each[row] for each in beside]),
            HardCell(" ".join(words[row])),
        ]
        for row in order
    ]
    counted = outcomes(known)
    totals = {each: sum(counted.true[name, each] for name in counted.types) for each in OUTCOMES}
    entire = max(sum(totals.values()), 1)
    sentence = (
        f"The sentences with the most missed and wrong entities, means of its {plural(len(known.seeds), 'run')}; the "
        f"predictions are of the first. Of all entities {totals['found'] / entire:.0%} are found, "
        f"{totals['ends'] / entire:.0%} have wrong ends, {totals['type'] / entire:.0%} a wrong type, "
        f"{totals['both'] / entire:.0%} both, and {totals['missed'] / entire:.0%} are missed."
    )
    return HardRows(sentence, COLUMNS, rows, texts=True)


def _errors(known: Predictions) -> npt.NDArray[np.float64]:
    """Return the number of entities of each row that are in only one of data and prediction, mean of runs: (n,)."""
    true = [tuple(json.loads(tags)) for tags in known.labels]
    found = np.zeros(len(true))
    runs = known.column("prediction")
    for run in runs:
        seen = [tuple(json.loads(tags)) for tags in run]
        strict = is_strict(true) or is_strict(seen)
        pairs = zip(true, seen, strict=True)
        found += [len(set(entities(one, strict)) ^ set(entities(other, strict))) for one, other in pairs]
    means: npt.NDArray[np.float64] = found / len(runs)
    return means


def _listed(words: Sequence[str], tags: Sequence[str], strict: bool) -> str:
    found = [f"{' '.join(words[each.start : each.end])} ({each.type})" for each in entities(tuple(tags), strict)]
    return "; ".join(found)


def _mean(values: Sequence[float]) -> HardCell:
    return HardCell(f"{np.mean(values):.3g}", float(np.mean(values))) if values else HardCell("", "")
