"""One table of metrics: name, function, direction, format. Imports no torch.

A metric is a function of labels (n,) int and class probabilities (n, C); adding one is adding one entry to `METRICS`.
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
Values = dict[str, float | None]  # of one split, by metric, with its loss; None where one is undefined


class Undefined(ValueError):
    """A metric has no value for this data, such as AUROC with more than two classes: None in a record."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: the key in records and in `task.metric`.
        short: the name in the line that an epoch prints.
        function: labels (n,), probabilities (n, C) -> a number; raises `Undefined` where there is none.
        direction: maximize | minimize.
        format: how a page writes the value; fractions become percentages.
        classes: how many classes a split must hold rows of, for the metric to tell models apart on it.
    """

    name: str
    short: str
    function: Callable[[Labels, Probabilities], float]
    direction: str
    format: str
    classes: int = 1

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is strictly better than another."""
        return value > than if self.direction == "maximize" else value < than


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Share of rows whose most probable class is the right one."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def macro_f1(labels: Labels, probabilities: Probabilities) -> float:
    """F1 averaged over the classes that occur as label or prediction, each counting the same."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0))


def weighted_f1(labels: Labels, probabilities: Probabilities) -> float:
    """F1 averaged over classes, each counting by its number of rows."""
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
    """Area under the ROC curve of a binary task; the positive class is the last one."""
    from sklearn.metrics import roc_auc_score

    if probabilities.shape[1] != 2:
        raise Undefined("auroc is defined for two classes.")
    if len(np.unique(labels)) < 2:
        raise Undefined("auroc needs rows of both classes.")
    return float(roc_auc_score(labels, probabilities[:, 1]))


def loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean cross entropy in nats; a probability of 0 counts as the smallest positive float32."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))


def ece(labels: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the largest probability (Guo et al. 2017, eq. 3)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    # Bins are open on the left: a confidence that equals an edge belongs to the bin below it.
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
    """All metrics of predictions.

    Args:
        labels: (n,) class indices, n above 0.
        probabilities: (n, C); rows sum to 1.

    Returns:
        A value a metric; None where it is not defined, and everywhere when a probability is not finite.
    """
    values: dict[str, float | None] = dict.fromkeys(METRICS)
    if not np.isfinite(probabilities).all():
        return values
    for name, metric in METRICS.items():
        with suppress(Undefined):
            values[name] = metric.function(labels, probabilities)
    return values


def better(metric: Metric, values: Values, than: Values) -> bool:
    """Whether an epoch is better than another: by the metric, of equals by the lower loss. No value is worst."""
    new, old = values[metric.name], than[metric.name]
    if new != old:
        return old is None or (new is not None and metric.better(new, old))
    losses = values["loss"], than["loss"]
    return losses[0] is not None and (losses[1] is None or losses[0] < losses[1])


def score(metric: Metric, values: Values, split: str) -> str:
    """`dev acc: 0.871`."""
    value = values[metric.name]
    return f"{split} {metric.short}: {'undefined' if value is None else f'{value:.3f}'}"
