"""The metrics of regression. Imports no torch.

A metric is a function of targets (n,) and predictions (n,), both in the unit of the source. To add one, add an entry to
`METRICS`, with its function and the scores of single rows here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.api.metric import Direction, Metric, RowScores, Undefined

Numbers = npt.NDArray[np.floating]


def mse(targets: Numbers, predictions: Numbers) -> float:
    """Mean squared error."""
    return float(squared_errors(targets, predictions).mean())


def squared_errors(targets: Numbers, predictions: Numbers) -> RowScores:
    """Squared error of each row."""
    errors: RowScores = np.square(predictions.astype(np.float64) - targets)
    return errors


def mae(targets: Numbers, predictions: Numbers) -> float:
    """Mean absolute error."""
    return float(absolute_errors(targets, predictions).mean())


def absolute_errors(targets: Numbers, predictions: Numbers) -> RowScores:
    """Absolute error of each row."""
    errors: RowScores = np.abs(predictions.astype(np.float64) - targets)
    return errors


def unexplained(targets: Numbers, predictions: Numbers) -> float:
    """Mean squared error as a fraction of the variance of the numbers, 1 - R2; without variance the error itself."""
    return float(unexplained_rows(targets, predictions).mean())


def unexplained_rows(targets: Numbers, predictions: Numbers) -> RowScores:
    """Fraction of unexplained variance + influence of each row on it."""
    errors, spread = squared_errors(targets, predictions), np.square(targets - np.mean(targets))
    variance = float(spread.mean())
    if variance <= 0:
        return errors
    value = float(errors.mean()) / variance
    scores: RowScores = value + (errors - value * spread) / variance
    return scores


def pearson(targets: Numbers, predictions: Numbers) -> float:
    """Pearson's correlation; 0 for constant predictions."""
    x, y = _standardized(targets), _standardized(predictions)
    if x is None:
        raise Undefined("a correlation needs rows with different targets.")
    return 0.0 if y is None else float(np.clip(np.mean(x * y), -1.0, 1.0))


def pearson_rows(targets: Numbers, predictions: Numbers) -> RowScores:
    """Correlation + influence of each row on it (Devlin, Gnanadesikan and Kettenring 1975)."""
    value = pearson(targets, predictions)
    x, y = _standardized(targets), _standardized(predictions)
    if x is None or y is None:
        return np.full(len(targets), value)
    scores: RowScores = x * y - value / 2 * (np.square(x) + np.square(y)) + value
    return scores


def spearman(targets: Numbers, predictions: Numbers) -> float:
    """Spearman's rank correlation, tied rows at their mean rank; 0 for constant predictions."""
    return pearson(_shares(targets), _shares(predictions))


def spearman_rows(targets: Numbers, predictions: Numbers) -> RowScores:
    """Rank correlation + influence of each row on it, through its own ranks and through those of all others.

    With mid-distribution values u and v, which have the mean 1/2, rho is (E[uv] - 1/4) / sqrt((E[uu] - 1/4) (E[vv] -
    1/4)). Each expectation is a V-statistic, whose influence has a term for each place that a row takes in it.
    """
    value = spearman(targets, predictions)
    u, v = _shares(targets), _shares(predictions)
    uu, vv = float(np.mean(u * u)) - 0.25, float(np.mean(v * v)) - 0.25
    if vv <= 0:
        return np.full(len(targets), value)
    both = u * v + _above(targets, v) + _above(predictions, u)
    first, second = u * u + 2 * _above(targets, u), v * v + 2 * _above(predictions, v)
    both, first, second = (each - each.mean() for each in (both, first, second))
    scores: RowScores = value + both / np.sqrt(uu * vv) - value / 2 * (first / uu + second / vv)
    return scores


def _standardized(values: Numbers) -> Numbers | None:
    """Return values with mean 0 and standard deviation 1; None if all are equal."""
    centered = values.astype(np.float64) - np.mean(values, dtype=np.float64)
    spread = float(np.sqrt(np.mean(np.square(centered))))
    return None if spread <= 1e-12 * max(1.0, float(np.abs(values).max())) else centered / spread


def _shares(values: Numbers) -> RowScores:
    """Return the fraction of rows below each row, itself and ties counted half."""
    from scipy.stats import rankdata

    shares: RowScores = (rankdata(values) - 0.5) / len(values)
    return shares


def _above(values: Numbers, weights: RowScores) -> RowScores:
    """Return for each row the mean over all rows of the weights of those with larger values, ties counted half."""
    kinds, which = np.unique(values, return_inverse=True)
    sums = np.bincount(which, weights=weights, minlength=len(kinds))
    larger = sums[::-1].cumsum()[::-1] - sums
    found: RowScores = (larger + sums / 2)[which] / len(values)
    return found


_MAX, _MIN = Direction.MAXIMIZE, Direction.MINIMIZE

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("spearman", "spearman", spearman, spearman_rows, _MAX, "{:.3f}", -1.0, 1.0, distinct=2),
        Metric("pearson", "pearson", pearson, pearson_rows, _MAX, "{:.3f}", -1.0, 1.0, distinct=2),
        Metric("mse", "mse", mse, squared_errors, _MIN, "{:.4g}", 0.0),
        Metric("mae", "mae", mae, absolute_errors, _MIN, "{:.4g}", 0.0),
        # What training minimizes; as in every family it breaks ties.
        Metric("loss", "loss", unexplained, unexplained_rows, _MIN, "{:.3f}", 0.0),
    )
}
