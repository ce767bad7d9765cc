"""Scores of single rows whose mean is a classification metric.

Accuracy, loss and calibration error are such means by definition. For a metric f of counts or ranks, a row's score is
f + the centered influence of the row: the infinitesimal jackknife (Efron 1982, chapter 6), which for AUROC gives the
placements of DeLong et al. (1988). The variance of `ece` is too large for a nearly calibrated model, where an absolute
value has no derivative.

All functions take labels (n,), class indices, and probabilities (n, C), and return (n,) scores in the metric's own
direction: not negated if lower is better.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.api.metric import Predictions, RowScores, Undefined

BINS = 15  # of calibration errors

Labels = npt.NDArray[np.int64]


def accuracy(labels: Labels, probabilities: Predictions) -> RowScores:
    """1 for a correct row, else 0."""
    values: RowScores = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return values


def loss(labels: Labels, probabilities: Predictions) -> RowScores:
    """Cross-entropy in nats."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    values: RowScores = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
    return values


def _counts(labels: Labels, probabilities: Predictions) -> tuple[Labels, RowScores, RowScores, RowScores]:
    """Return predictions (n,) and, per class (C,), the numbers of hits, of labels and of predictions."""
    predictions = probabilities.argmax(axis=1)
    classes = max(probabilities.shape[1], int(labels.max()) + 1)
    hits = np.bincount(labels[labels == predictions], minlength=classes).astype(np.float64)
    actual = np.bincount(labels, minlength=classes).astype(np.float64)
    predicted = np.bincount(predictions, minlength=classes).astype(np.float64)
    return predictions, hits, actual, predicted


def _f1(hits: RowScores, sizes: RowScores) -> RowScores:
    return np.divide(2 * hits, sizes, out=np.zeros_like(hits), where=sizes > 0)


def macro_f1(labels: Labels, probabilities: Predictions) -> RowScores:
    """Scores of macro F1."""
    predictions, hits, actual, predicted = _counts(labels, probabilities)
    sizes = actual + predicted
    f1 = _f1(hits, sizes)
    # F1 = 2 hits / sizes. A row adds to the sizes of its label and its prediction and, if correct, to its class's hits.
    step = len(labels) / np.count_nonzero(sizes)
    right = labels == predictions
    change = 2 * right / sizes[labels] - f1[labels] / sizes[labels] - f1[predictions] / sizes[predictions]
    values: RowScores = f1.sum() / np.count_nonzero(sizes) + step * change
    return values


def weighted_f1(labels: Labels, probabilities: Predictions) -> RowScores:
    """Scores of weighted F1."""
    predictions, hits, actual, predicted = _counts(labels, probabilities)
    sizes = actual + predicted
    f1 = _f1(hits, sizes)
    share = np.divide(actual, sizes, out=np.zeros_like(actual), where=sizes > 0)
    right = labels == predictions
    # Besides changing F1, a row increases the weight of its own class: hence the term with F1 of its label.
    change = 2 * right * share[labels] - f1[labels] * share[labels] - f1[predictions] * share[predictions]
    values: RowScores = f1[labels] + change
    return values


def mcc(labels: Labels, probabilities: Predictions) -> RowScores:
    """Scores of the Matthews correlation coefficient."""
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
    values: RowScores = value + n * (change / scale - value * relative)
    return values


def auroc(labels: Labels, probabilities: Predictions) -> RowScores:
    """Scores of AUROC; the last of two classes is the positive one."""
    from scipy.stats import rankdata
    from sklearn.metrics import roc_auc_score

    if probabilities.shape[1] != 2:
        raise Undefined("auroc is defined for two classes.")
    if len(np.unique(labels)) < 2:
        raise Undefined("auroc needs rows of both classes.")
    value = float(roc_auc_score(labels, probabilities[:, 1]))
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


def ece(labels: Labels, probabilities: Predictions, bins: int = BINS) -> RowScores:
    """Signed gaps of correctness and confidence, by the sign of the bin's gap."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    signs = np.sign(np.bincount(bin_of, weights=gaps, minlength=bins))
    values: RowScores = signs[bin_of] * gaps
    return values


def brier(labels: Labels, probabilities: Predictions) -> RowScores:
    """Squared error of the probabilities of all classes."""
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(labels)), labels] -= 1.0
    values: RowScores = np.square(errors).sum(axis=1)
    return values


def calibration_error(labels: Labels, probabilities: Predictions) -> RowScores:
    """No scores: a root that is cut at 0 has no influence function there, which is where a calibrated model is."""
    raise Undefined("calibration_error is no mean of rows, so it has no interval and no verdict; choose brier.")
