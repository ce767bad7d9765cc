"""The metrics of classification: name, functions, direction and format of each. Imports no torch.

A metric is a function of labels (n,), class indices, and class probabilities (n, C). To add one, add an entry to
`METRICS`, with its function here and the scores of single rows in `row_scores`. Its scale and what its interval
depends on are in the entry.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from harness.api.metric import Direction, Metric, Predictions, Undefined
from harness.tasks.text_classification import class_sizes
from harness.tasks.text_classification import row_scores as rows

Labels = npt.NDArray[np.int64]

_MAX, _MIN = Direction.MAXIMIZE, Direction.MINIMIZE


def accuracy(labels: Labels, probabilities: Predictions) -> float:
    """Fraction of rows whose most probable class is correct."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def macro_f1(labels: Labels, probabilities: Predictions) -> float:
    """F1 averaged over the classes that occur as label or prediction, with equal weights."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0))


def weighted_f1(labels: Labels, probabilities: Predictions) -> float:
    """F1 averaged over classes, weighted by their number of rows."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, probabilities.argmax(axis=1), average="weighted", zero_division=0))


def mcc(labels: Labels, probabilities: Predictions) -> float:
    """Matthews correlation coefficient, -1 to 1; 0 for a constant prediction."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        # A constant prediction is an ordinary outcome of a bad trial, not a reason for a warning.
        warnings.simplefilter("ignore")
        return float(matthews_corrcoef(labels, probabilities.argmax(axis=1)))


def auroc(labels: Labels, probabilities: Predictions) -> float:
    """Area under the ROC curve of a binary task; the last class is the positive one."""
    from sklearn.metrics import roc_auc_score

    if probabilities.shape[1] != 2:
        raise Undefined("auroc is defined for two classes.")
    if len(np.unique(labels)) < 2:
        raise Undefined("auroc needs rows of both classes.")
    return float(roc_auc_score(labels, probabilities[:, 1]))


def loss(labels: Labels, probabilities: Predictions) -> float:
    """Mean cross-entropy in nats; a probability of 0 counts as the smallest positive float32."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))


def ece(labels: Labels, probabilities: Predictions, bins: int = rows.BINS) -> float:
    """Expected calibration error over equal-width bins of the largest probability (Guo et al. 2017, eq. 3)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    # Bins include their right edge: a confidence equal to an edge belongs to the bin below it.
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def brier(labels: Labels, probabilities: Predictions) -> float:
    """Mean squared error of the probabilities of all classes, 0 to 2 (Brier 1950)."""
    return float(rows.brier(labels, probabilities).mean())


def calibration_error(labels: Labels, probabilities: Predictions, bins: int = rows.BINS) -> float:
    """Root mean squared calibration error of the largest probability, debiased (Kumar et al. 2019, section 5).

    Bins have equal numbers of rows. The square of each bin's gap contains the variance of its share of correct rows,
    which is estimated and subtracted; `ece` contains it, so it is above 0 for a calibrated model on few rows. A
    negative sum counts as 0.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    _, bin_of = np.unique(np.searchsorted(edges, confidence), return_inverse=True)  # equal confidences share a bin
    sizes = np.bincount(bin_of)
    share, sure = np.bincount(bin_of, correct) / sizes, np.bincount(bin_of, confidence) / sizes
    squares = (share - sure) ** 2 - share * (1 - share) / np.maximum(sizes - 1, 1)
    return float(np.sqrt(max(float(sizes @ squares) / len(labels), 0.0)))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "acc", accuracy, rows.accuracy, _MAX, "{:.1%}", 0.0, 1.0, score_interval=True),
        Metric("macro_f1", "macro f1", macro_f1, rows.macro_f1, _MAX, "{:.1%}", 0.0, 1.0, score_interval=True,
               informative_rows=class_sizes.of_class_means, no_interval=class_sizes.few_a_class),
        Metric("weighted_f1", "weighted f1", weighted_f1, rows.weighted_f1, _MAX, "{:.1%}", 0.0, 1.0,
               score_interval=True),
        Metric("mcc", "mcc", mcc, rows.mcc, _MAX, "{:.3f}", -1.0, 1.0, distinct=2, score_interval=True,
               informative_rows=class_sizes.of_class_means, no_interval=class_sizes.few_of_rarer),
        Metric("auroc", "auroc", auroc, rows.auroc, _MAX, "{:.1%}", 0.0, 1.0, distinct=2, score_interval=True,
               informative_rows=class_sizes.rarer),
        Metric("loss", "loss", loss, rows.loss, _MIN, "{:.3f}", 0.0, no_interval=class_sizes.few_for_loss),
        Metric("ece", "ece", ece, rows.ece, _MIN, "{:.3f}", 0.0, 1.0, no_interval=class_sizes.biased),
        Metric("brier", "brier", brier, rows.brier, _MIN, "{:.3f}", 0.0, 2.0),
        Metric("calibration_error", "calibration", calibration_error, rows.calibration_error, _MIN, "{:.3f}", 0.0, 1.0),
    )
}  # fmt: skip
