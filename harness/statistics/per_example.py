"""Per-example values whose mean is the metric, so that the same statistics serve all metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.api.metric import METRICS, Labels, Probabilities, Undefined
from harness.errors import nearest

Values = npt.NDArray[np.float64]


def per_example(metric: str, labels: Labels, probabilities: Probabilities) -> Values:
    """Return values whose mean is the metric and whose variance over examples gives the metric's sampling variance.

    Accuracy, loss and calibration error are such means by definition. For a metric f of counts or ranks, the values are
    f + the centered influence of the example: the infinitesimal jackknife (Efron 1982, chapter 6), which for AUROC
    gives the placements of DeLong et al. (1988). The variance of `ece` is too large for a nearly calibrated model,
    where an absolute value has no derivative.

    Args:
        metric: a name in `METRICS`.
        labels: (n,) class indices.
        probabilities: (n, C).

    Returns:
        (n,) values in the metric's own direction: not negated if lower is better.

    Raises:
        KeyError: the metric is unknown.
        Undefined: the metric has no value for this data, or a probability is not finite.
    """
    if metric not in PER_EXAMPLE:
        raise KeyError(f"{metric!r} is no metric with per-example values. {nearest(metric, PER_EXAMPLE)}")
    if not np.isfinite(probabilities).all():
        raise Undefined(f"{metric} has no value: a probability is not finite.")
    return PER_EXAMPLE[metric](np.asarray(labels, dtype=np.int64), probabilities)


def _accuracy(labels: Labels, probabilities: Probabilities) -> Values:
    values: Values = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return values


def _loss(labels: Labels, probabilities: Probabilities) -> Values:
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    values: Values = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
    return values


def _counts(labels: Labels, probabilities: Probabilities) -> tuple[Labels, Values, Values, Values]:
    """Return predictions (n,) and, per class (C,), the numbers of hits, of labels and of predictions."""
    predictions = probabilities.argmax(axis=1)
    classes = max(probabilities.shape[1], int(labels.max()) + 1)
    hits = np.bincount(labels[labels == predictions], minlength=classes).astype(np.float64)
    actual = np.bincount(labels, minlength=classes).astype(np.float64)
    predicted = np.bincount(predictions, minlength=classes).astype(np.float64)
    return predictions, hits, actual, predicted


def _f1(hits: Values, sizes: Values) -> Values:
    return np.divide(2 * hits, sizes, out=np.zeros_like(hits), where=sizes > 0)


def _macro_f1(labels: Labels, probabilities: Probabilities) -> Values:
    predictions, hits, actual, predicted = _counts(labels, probabilities)
    sizes = actual + predicted
    f1 = _f1(hits, sizes)
    # F1 = 2 hits / sizes. A row adds to the sizes of its label and its prediction and, if correct, to its class's hits.
    step = len(labels) / np.count_nonzero(sizes)
    right = labels == predictions
    change = 2 * right / sizes[labels] - f1[labels] / sizes[labels] - f1[predictions] / sizes[predictions]
    values: Values = f1.sum() / np.count_nonzero(sizes) + step * change
    return values


def _weighted_f1(labels: Labels, probabilities: Probabilities) -> Values:
    predictions, hits, actual, predicted = _counts(labels, probabilities)
    sizes = actual + predicted
    f1 = _f1(hits, sizes)
    share = np.divide(actual, sizes, out=np.zeros_like(actual), where=sizes > 0)
    right = labels == predictions
    # Besides changing F1, a row increases the weight of its own class: hence the term with F1 of its label.
    change = 2 * right * share[labels] - f1[labels] * share[labels] - f1[predictions] * share[predictions]
    values: Values = f1[labels] + change
    return values


def _mcc(labels: Labels, probabilities: Probabilities) -> Values:
    predictions, hits, actual, predicted = _counts(labels, probabilities)
    n = float(len(labels))
    spread_predicted, spread_actual = n**2 - predicted @ predicted, n**2 - actual @ actual
    if spread_predicted == 0 or spread_actual == 0:
        return np.zeros(len(labels))  # constant labels or predictions: 0 by definition
    scale = np.sqrt(spread_predicted * spread_actual)
    covariance = hits.sum() * n - actual @ predicted
    value = covariance / scale
    # Derivatives of Gorodkin's (2004) ratio with respect to the weight of a row with this label and this prediction.
    change = (labels == predictions) * n + hits.sum() - actual[predictions] - predicted[labels]
    relative = (n - predicted[predictions]) / spread_predicted + (n - actual[labels]) / spread_actual
    values: Values = value + n * (change / scale - value * relative)
    return values


def _auroc(labels: Labels, probabilities: Probabilities) -> Values:
    from scipy.stats import rankdata

    value = METRICS["auroc"].function(labels, probabilities)  # raises `Undefined` if there is none
    positive = labels == 1
    score = probabilities[:, 1]
    ranks = rankdata(score)
    n, positives = len(labels), int(positive.sum())
    negatives = n - positives
    # Fraction of the other class relative to which a row is ranked correctly; ties count half.
    above = (ranks[positive] - rankdata(score[positive])) / negatives
    below = 1 - (ranks[~positive] - rankdata(score[~positive])) / positives
    values = np.full(n, value)
    values[positive] += (above - value) * n / positives
    values[~positive] += (below - value) * n / negatives
    return values


def _ece(labels: Labels, probabilities: Probabilities, bins: int = 15) -> Values:
    confidence = probabilities.max(axis=1).astype(np.float64)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    signs = np.sign(np.bincount(bin_of, weights=gaps, minlength=bins))
    values: Values = signs[bin_of] * gaps
    return values


PER_EXAMPLE: dict[str, Callable[[Labels, Probabilities], Values]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "weighted_f1": _weighted_f1,
    "mcc": _mcc,
    "auroc": _auroc,
    "loss": _loss,
    "ece": _ece,
}
