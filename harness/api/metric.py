"""Metrics: name, function, direction and format of each. Imports no torch.

A metric is a function of labels (n,) int and class probabilities (n, C). To add one, add an entry to `METRICS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.floating[Any]]
Values = dict[str, float | None]  # metrics of one split by name, loss included; None if undefined


class Undefined(ValueError):
    """The metric has no value for this data, such as AUROC with more than two classes. Recorded as None."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: key in records and in `task.metric`.
        short: name in the line that is printed after an epoch.
        function: (labels (n,), probabilities (n, C)) -> value; raises `Undefined` if there is none.
        direction: maximize | minimize.
        format: format string of the value on a page; fractions are written as percentages.
        classes: number of classes that must occur in a split for the metric to distinguish models on it.
    """

    name: str
    short: str
    function: Callable[[Labels, Probabilities], float]
    direction: str
    format: str
    classes: int = 1

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` is strictly better than `than`."""
        return value > than if self.direction == "maximize" else value < than


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Fraction of rows whose most probable class is correct."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def macro_f1(labels: Labels, probabilities: Probabilities) -> float:
    """F1 averaged over the classes that occur as label or prediction, with equal weights."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0))


def weighted_f1(labels: Labels, probabilities: Probabilities) -> float:
    """F1 averaged over classes, weighted by their number of rows."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, probabilities.argmax(axis=1), average="weighted", zero_division=0))


def mcc(labels: Labels, probabilities: Probabilities) -> float:
    """Matthews correlation coefficient, -1 to 1; 0 for a constant prediction."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        # A constant prediction is an ordinary outcome of a bad trial, not a reason for a warning.
        warnings.simplefilter("ignore")
        return float(matthews_corrcoef(labels, probabilities.argmax(axis=1)))


def auroc(labels: Labels, probabilities: Probabilities) -> float:
    """Area under the ROC curve of a binary task; the last class is the positive one."""
    from sklearn.metrics import roc_auc_score

    if probabilities.shape[1] != 2:
        raise Undefined("auroc is defined for two classes.")
    if len(np.unique(labels)) < 2:
        raise Undefined("auroc needs rows of both classes.")
    return float(roc_auc_score(labels, probabilities[:, 1]))


def loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean cross-entropy in nats; a probability of 0 counts as the smallest positive float32."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))


def ece(labels: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the largest probability (Guo et al. 2017, eq. 3)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    # Bins include their right edge: a confidence equal to an edge belongs to the bin below it.
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "acc", accuracy, "maximize", "{:.1%}"),
        Metric("macro_f1", "macro f1", macro_f1, "maximize", "{:.1%}"),
        Metric("weighted_f1", "weighted f1", weighted_f1, "maximize", "{:.1%}"),
        Metric("mcc", "mcc", mcc, "maximize", "{:.3f}", classes=2),
        Metric("auroc", "auroc", auroc, "maximize", "{:.1%}", classes=2),
        Metric("loss", "loss", loss, "minimize", "{:.3f}"),
        Metric("ece", "ece", ece, "minimize", "{:.3f}"),
    )
}


def evaluate(labels: Labels, probabilities: Probabilities) -> Values:
    """Compute all metrics of predictions.

    Args:
        labels: (n,) class indices, n > 0.
        probabilities: (n, C); rows sum to 1.

    Returns:
        One value per metric; None if it is undefined, and for every metric if a probability is not finite.
    """
    values: dict[str, float | None] = dict.fromkeys(METRICS)
    if not np.isfinite(probabilities).all():
        return values
    for name, metric in METRICS.items():
        with suppress(Undefined):
            values[name] = metric.function(labels, probabilities)
    return values


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
