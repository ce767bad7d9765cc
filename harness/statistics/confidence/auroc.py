"""How well scores separate two groups of rows: the area under the ROC curve, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating[Any]]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Separation:
    """How well scores separate rows inside from rows outside.

    Attributes:
        area: probability that a row inside has a higher score than one outside, ties counted half; mean over seeds.
        low, high: ends of its interval.
        inside, outside: (n,) and (m,) structural components, averaged over seeds: the area as a mean over rows of
            either kind.
        by_seed: (S,) the area of each seed.
    """

    area: float
    low: float
    high: float
    inside: Values
    outside: Values
    by_seed: Values


def separation(inside: Scores, outside: Scores, level: float = 0.95) -> Separation:
    """Compute the area under the ROC curve by the components of DeLong et al. (1988).

    The interval counts both kinds of rows and, with several seeds, the seeds: its variance is that of the mean over
    seeds for fixed seeds plus the variance of seeds over their number. It is symmetric in the logit, so it stays
    within 0 and 1. An area of exactly 0 or 1 counts as one half of a pair away from it.

    Args:
        inside: (S, n) scores of rows that belong to the classes; higher means inside.
        outside: (S, m) scores of rows that do not.
        level: of the interval.
    """
    parts = [_components(one, other) for one, other in zip(inside, outside, strict=True)]
    of_inside = np.stack([first for first, _ in parts])
    of_outside = np.stack([second for _, second in parts])
    areas = of_inside.mean(axis=1)
    components = of_inside.mean(axis=0), of_outside.mean(axis=0)
    error = math.sqrt(_variance(*components, areas))
    low, high = _logit_interval(float(areas.mean()), error, inside.shape[1] * outside.shape[1], level)
    return Separation(float(areas.mean()), low, high, *components, areas)


def difference(one: Separation, other: Separation, level: float = 0.95) -> tuple[float, float, float]:
    """Return how much larger the first area is than the second on the same rows and seeds, with its interval."""
    from scipy.stats import norm

    areas = one.by_seed - other.by_seed
    error = math.sqrt(_variance(one.inside - other.inside, one.outside - other.outside, areas))
    gap, reach = one.area - other.area, float(norm.ppf((1 + level) / 2)) * error
    return gap, gap - reach, gap + reach


def _components(inside: Scores, outside: Scores) -> tuple[Values, Values]:
    """Return for each row inside the share of rows outside below it, and for each outside that of those above it."""
    lower, upper = np.sort(outside), np.sort(inside)
    below = np.searchsorted(lower, inside, "left") + np.searchsorted(lower, inside, "right")
    above = 2 * len(upper) - np.searchsorted(upper, outside, "left") - np.searchsorted(upper, outside, "right")
    return below / (2 * len(lower)), above / (2 * len(upper))


def _variance(inside: Values, outside: Values, areas: Values) -> float:
    rows = _of_mean(inside) + _of_mean(outside)
    return rows + _of_mean(areas)


def _of_mean(values: Values) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _logit_interval(area: float, error: float, pairs: int, level: float) -> tuple[float, float]:
    from scipy.stats import norm

    inner = min(max(area, 0.5 / pairs), 1 - 0.5 / pairs)
    slope = inner * (1 - inner)
    # Without any variance, as of groups that are apart, the half pair is the error.
    reach = float(norm.ppf((1 + level) / 2)) * max(error, 0.5 / pairs) / slope
    center = math.log(inner / (1 - inner))
    return _logistic(center - reach), _logistic(center + reach)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
