"""The contract of metrics. Each task family has a table of its own (see `harness.api.family`). Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Targets = npt.NDArray[Any]  # (n,) or (n, ...): what a family is to predict, such as class indices or numbers
# (n, ...): what its models return, such as class probabilities; or (n,) records whose fields are numbers and texts
Predictions = npt.NDArray[Any]
RowScores = npt.NDArray[np.float64]
ClassSizes = npt.NDArray[np.int64]  # (C,): test rows of each target that occurs
Values = dict[str, float | None]  # metrics of one split by name, loss included; None if undefined


class Undefined(ValueError):
    """The metric has no value for this data, such as AUROC with more than two classes. Recorded as None."""


class Direction(StrEnum):
    """Which values of a metric are better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


def _all_rows(sizes: ClassSizes) -> float:
    return float(sizes.sum())


def _always(sizes: ClassSizes) -> None:
    return None


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: key in records and in `task.metric`.
        short: name in the line that is printed after an epoch.
        value: (targets, predictions) -> value; raises `Undefined` if there is none.
        per_row: (targets, predictions) -> (n,) values, one a row. Their mean is the metric, and their variance gives
            its sampling variance. Reports and adaptive replication read only these. For a metric that is no mean of
            rows, a row's value is the metric + the row's centered influence on it (infinitesimal jackknife).
        direction: which values are better.
        format: format string of the value on a page; fractions are written as percentages.
        low, high: ends of its scale.
        score_interval: whether the interval of its mean is a score interval, as for a share of rows, which needs both
            ends; otherwise it is symmetric and clipped at the ends.
        informative_rows: class sizes -> how many independent rows carry as much information about the metric as the
            test rows. It differs from their number for metrics that weight classes otherwise than by their rows.
        no_interval: class sizes -> why the metric has no interval on such test rows, as a clause; None if it has one.
            For settings in which `harness.statistics.interval` covers less than 93 % in tests/benchmarks/statistics.
        distinct: number of different targets that a split must have for the metric to distinguish models on it.
    """

    name: str
    short: str
    value: Callable[[Targets, Predictions], float]
    per_row: Callable[[Targets, Predictions], RowScores]
    direction: Direction
    format: str
    low: float = -np.inf
    high: float = np.inf
    distinct: int = 1
    score_interval: bool = False
    informative_rows: Callable[[ClassSizes], float] = _all_rows
    no_interval: Callable[[ClassSizes], str | None] = _always

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` is strictly better than `than`."""
        return value > than if self.direction == Direction.MAXIMIZE else value < than


def evaluate(metrics: Mapping[str, Metric], targets: Targets, predictions: Predictions) -> Values:
    """Compute all metrics of predictions for n > 0 rows.

    Returns:
        One value per metric; None if it is undefined, and for every metric if a prediction is not finite.
    """
    values: Values = dict.fromkeys(metrics)
    if not is_finite(predictions):
        return values
    for name, metric in metrics.items():
        with suppress(Undefined):
            values[name] = metric.value(targets, predictions)
    return values


def row_scores(metrics: Mapping[str, Metric], targets: Targets, predictions: Predictions) -> dict[str, RowScores]:
    """Return the scores (n,) of each row by metric, without the metrics that are undefined for these rows."""
    scores: dict[str, RowScores] = {}
    if not is_finite(predictions):
        return scores
    for name, metric in metrics.items():
        with suppress(Undefined):
            scores[name] = metric.per_row(targets, predictions)
    return scores


def is_finite(predictions: Predictions) -> bool:
    """Return whether all numbers in predictions are finite."""
    if predictions.dtype.names is None:
        return bool(np.isfinite(predictions).all())
    numbers = (name for name in predictions.dtype.names if predictions.dtype[name].base.kind == "f")  # or arrays of it
    return all(np.isfinite(predictions[name]).all() for name in numbers)


def better(metric: Metric, values: Values, than: Values) -> bool:
    """Return whether an epoch is better: by the metric, ties by the lower loss; a missing value is worst."""
    new, old = values[metric.name], than[metric.name]
    if new != old:
        return old is None or (new is not None and metric.better(new, old))
    losses = values["loss"], than["loss"]
    return losses[0] is not None and (losses[1] is None or losses[0] < losses[1])


def score(metric: Metric, values: Values, split: str) -> str:
    """Format the metric of a split: `dev acc: 0.871`."""
    value = values[metric.name]
    return f"{split} {metric.short}: {'undefined' if value is None else f'{value:.3f}'}"
