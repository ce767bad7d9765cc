"""The metrics of tagging. Imports no torch.

Targets (n,) are tuples of tags, predictions (n,) records (`TAGGED`). An entity is right if its type and both ends are,
as seqeval counts; tags of BIOES are read in seqeval's strict mode. Every metric is a ratio of sums over rows, so the
scores of rows follow from one set of counts a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.api.metric import Direction, Metric, Predictions, RowScores, Targets, Undefined
from harness.tasks.token_tagging.entities import entities, is_strict

# A prediction: the sum of the negative log likelihoods of the tags, the number of words, their tags, and the
# probability of each; `row` is the sentence where answers need it, else None.
TAGGED = np.dtype([("nll", "f8"), ("words", "i8"), ("tags", "O"), ("confidence", "O"), ("row", "O")])

Sums = npt.NDArray[np.float64]


class EntityCounts(NamedTuple):
    """Numbers of entities, (n, T) for each row and type.

    Attributes:
        right: predicted with the right type and ends.
        predicted: predicted.
        true: in the data.
    """

    right: Sums
    predicted: Sums
    true: Sums

    @property
    def summed(self) -> EntityCounts:
        """Return the numbers of all types together, (n, 1)."""
        return EntityCounts(*(each.sum(axis=1, keepdims=True) for each in self))


def count(targets: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> EntityCounts:
    """Count the entities of n rows by type; types are those that occur, in order."""
    strict = is_strict(targets) or is_strict(predicted)
    pairs = [
        (entities(tuple(true), strict), entities(tuple(seen), strict))
        for true, seen in zip(targets, predicted, strict=True)
    ]
    names = sorted({each.type for pair in pairs for side in pair for each in side})
    types = {name: place for place, name in enumerate(names)}
    found = EntityCounts(*(np.zeros((len(pairs), len(types))) for _ in EntityCounts._fields))
    for row, (true, seen) in enumerate(pairs):
        for sums, which in zip(found, (set(true) & set(seen), seen, true), strict=True):
            for name, number in Counter(entity.type for entity in which).items():
                sums[row, types[name]] += number
    return found


def _counts(targets: Targets, predictions: Predictions) -> EntityCounts:
    found = count(list(targets), list(predictions["tags"]))
    if not found.true.sum():
        raise Undefined("no row has an entity.")
    return found


def ratio(upper: Sums, lower: Sums) -> tuple[float, RowScores]:
    """Return the ratio of two sums over rows (n,), 0 without a denominator, and value + influence of each row."""
    total = float(lower.sum())
    if total == 0:
        return 0.0, np.zeros(len(lower))
    value = float(upper.sum()) / total
    scores: RowScores = value + len(lower) * (upper - value * lower) / total
    return value, scores


Ratios = Callable[[Targets, Predictions], list[tuple[Sums, Sums]]]


def f1(found: EntityCounts) -> list[tuple[Sums, Sums]]:
    """Return the sums whose ratio is F1, for each type."""
    return [(2 * found.right[:, t], found.predicted[:, t] + found.true[:, t]) for t in range(found.true.shape[1])]


def precision(found: EntityCounts) -> list[tuple[Sums, Sums]]:
    """Return the sums whose ratio is precision, for each type."""
    return [(found.right[:, t], found.predicted[:, t]) for t in range(found.true.shape[1])]


def recall(found: EntityCounts) -> list[tuple[Sums, Sums]]:
    """Return the sums whose ratio is recall, for each type."""
    return [(found.right[:, t], found.true[:, t]) for t in range(found.true.shape[1])]


def _entity_f1(targets: Targets, predictions: Predictions) -> list[tuple[Sums, Sums]]:
    return f1(_counts(targets, predictions).summed)


def _entity_macro_f1(targets: Targets, predictions: Predictions) -> list[tuple[Sums, Sums]]:
    return f1(_counts(targets, predictions))


def _entity_precision(targets: Targets, predictions: Predictions) -> list[tuple[Sums, Sums]]:
    return precision(_counts(targets, predictions).summed)


def _entity_recall(targets: Targets, predictions: Predictions) -> list[tuple[Sums, Sums]]:
    return recall(_counts(targets, predictions).summed)


def _token_accuracy(targets: Targets, predictions: Predictions) -> list[tuple[Sums, Sums]]:
    right = [
        sum(one == other for one, other in zip(true, seen, strict=True))
        for true, seen in zip(targets, predictions["tags"], strict=True)
    ]
    return [(np.array(right, dtype=np.float64), _words(targets))]


def _loss(targets: Targets, predictions: Predictions) -> list[tuple[Sums, Sums]]:
    return [(predictions["nll"], _words(targets))]


def _words(targets: Targets) -> Sums:
    return np.array([len(row) for row in targets], dtype=np.float64)


def _metric(name: str, short: str, ratios: Ratios, direction: Direction, form: str, high: float) -> Metric:
    """Make a metric that is the mean of ratios of sums over rows."""

    def value(targets: Targets, predictions: Predictions) -> float:
        """Return the mean of the ratios."""
        return float(np.mean([ratio(*pair)[0] for pair in ratios(targets, predictions)]))

    def per_row(targets: Targets, predictions: Predictions) -> RowScores:
        """Return value + influence of each row."""
        scores: RowScores = np.mean([ratio(*pair)[1] for pair in ratios(targets, predictions)], axis=0)
        return scores

    share = high == 1.0
    return Metric(name, short, value, per_row, direction, form, 0.0, high, score_interval=share)


_MAX, _MIN = Direction.MAXIMIZE, Direction.MINIMIZE
_PERCENT = "{:.1%}"

_TABLE: tuple[Any, ...] = (
    ("entity_f1", "F1", _entity_f1, _MAX, _PERCENT, 1.0),
    ("entity_macro_f1", "macro F1", _entity_macro_f1, _MAX, _PERCENT, 1.0),
    ("entity_precision", "precision", _entity_precision, _MAX, _PERCENT, 1.0),
    ("entity_recall", "recall", _entity_recall, _MAX, _PERCENT, 1.0),
    ("token_accuracy", "token accuracy", _token_accuracy, _MAX, _PERCENT, 1.0),
    # What training minimizes; as in every family it breaks ties.
    ("loss", "loss", _loss, _MIN, "{:.3f}", np.inf),
)

METRICS: dict[str, Metric] = {row[0]: _metric(*row) for row in _TABLE}
ENTITY_METRICS = tuple(name for name in METRICS if name.startswith("entity_"))
