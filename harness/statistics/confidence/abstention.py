"""Abstention: which rows a classifier answers so that a wanted share of its answers is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating[Any]]
Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Threshold:
    """The rows that are answered: those of at least a confidence.

    Attributes:
        confidence: the least one.
        coverage: share of the rows, from which it was found, that are answered.
        precision: share of these answers that are right.
        bound: a lower bound of the precision on new rows of the same kind.
    """

    confidence: float
    coverage: float
    precision: float
    bound: float


def threshold(confidences: Values, right: Right, precision: float, level: float = 0.95) -> Threshold | None:
    """Find a low threshold at which the precision is shown to be high enough.

    A binary search over the distinct confidences (Geifman and El-Yaniv 2017, arXiv:1705.08500, algorithm 1). Each of
    its steps tests a lower bound (Clopper and Pearson 1934); the error rate is divided by the number of steps, so that
    the bounds hold together and the precision on new rows is as wanted with probability `level`, whichever step ends
    the search.

    Args:
        confidences: (n,) of rows that were not trained on, independent of one another.
        right: (n,) whether their answers are right.
        precision: wanted share of right answers, in (0, 1).
        level: probability with which it is reached.

    Returns:
        The threshold of the largest coverage that the search finds; None if no precision is shown to be high enough.
    """
    order = np.argsort(-confidences.astype(np.float64), kind="stable")
    sure, hits = confidences.astype(np.float64)[order], np.cumsum(right[order])
    # Rows of equal confidence are answered together: only the last of them ends a set.
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True)) if len(sure) else np.zeros(0, dtype=np.int64)
    steps = max(1, math.ceil(math.log2(len(ends) + 1)))
    found: Threshold | None = None
    low, high = 0, len(ends) - 1
    while low <= high:
        middle = (low + high + 1) // 2
        answered = int(ends[middle]) + 1
        bound = lower_bound(int(hits[answered - 1]), answered, (1 - level) / steps)
        if bound >= precision:
            found = Threshold(
                float(sure[answered - 1]), answered / len(sure), float(hits[answered - 1]) / answered, bound
            )
            low = middle + 1
        else:
            high = middle - 1
    return found


def lower_bound(hits: int, rows: int, error: float) -> float:
    """Return the lower bound of a share by Clopper and Pearson, one-sided, that fails with at most this probability."""
    from scipy.stats import beta

    return 0.0 if hits == 0 else float(beta.ppf(error, hits, rows - hits + 1))


def highest_precision(confidences: Values, right: Right, level: float = 0.95) -> float:
    """Return the highest precision, in steps of one percent, for which `threshold` finds one; 0.0 if there is none."""
    low, high = (
        0,
        99,
    )  # where one is found for a precision, one is found for every lower one: the search meets it sooner
    while low < high:
        middle = (low + high + 1) // 2
        found = threshold(confidences, right, middle / 100, level)
        low, high = (middle, high) if found is not None else (low, middle - 1)
    return low / 100


def risk_coverage(confidences: Values, right: Right) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the risk-coverage curve (El-Yaniv and Wiener 2010): which share of answers is wrong at which coverage.

    Args:
        confidences: (n,).
        right: (n,).

    Returns:
        Coverages (m,), ascending to 1, and risks (m,): one point for each distinct confidence.
    """
    order = np.argsort(-confidences, kind="stable")
    sure, wrong = confidences[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))
    return (ends + 1) / len(order), wrong[ends] / (ends + 1)


def area_under_risk(confidences: Values, right: Right) -> float:
    """Return the area under the risk-coverage curve, the mean risk over all coverages; lower is better."""
    coverages, risks = risk_coverage(confidences, right)
    widths = np.diff(coverages, prepend=0.0)
    return float((widths * risks).sum())
