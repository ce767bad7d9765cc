"""Scales of metrics: their ends, and intervals of means that stay between these ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.api.family import all_metrics

# Number of wrong rows at which an estimated variance has the same weight as that of independent rows (`Scale.unseen`).
FEW_WRONG = 4.0
FEW_ROWS = 10  # of a class
ROUNDING = 1e-12  # a mean this close to an end is at the end


@dataclass(frozen=True)
class Scale:
    """Range of a metric's values.

    Attributes:
        low, high: its ends, infinite if there is none.
        score: whether the interval of a mean is a score interval, which needs both ends; otherwise it is clipped at the
            ends.
    """

    low: float = -math.inf
    high: float = math.inf
    score: bool = False

    @property
    def span(self) -> float:
        """The largest difference of two values."""
        return self.high - self.low

    def cut(self, value: float) -> float:
        """Clip a value to the scale."""
        return min(max(value, self.low), self.high)

    def unseen(self, mean: float, variance: float, examples: int, rows: float) -> float:
        """Return what to add to the variance of a mean if few rows are wrong, so that it is poorly estimated.

        Kish's (1965) design effect, the ratio of the variance to that of as many independent rows, is shrunk towards
        that of `rows` independent rows, as if `FEW_WRONG` of these had been seen to be wrong. A larger one stays.

        Args:
            mean, variance: a mean over examples and its estimated variance.
            examples: n.
            rows: number of independent rows with the same information; see `informative_rows`.
        """
        if not self.score or (share := self._share(mean)) in (0, 1):
            return 0.0
        alone = share * (1 - share) * self.span**2 / examples
        wrong = rows * min(share, 1 - share)
        drawn = (wrong * variance + FEW_WRONG * alone * examples / rows) / (wrong + FEW_WRONG)
        return max(drawn - variance, 0.0)

    def limits(self, mean: float, error: float, quantile: float, rows: float) -> tuple[float, float]:
        """Return the limits of the interval of a mean, which contain the mean and lie on the scale.

        The score interval (Wilson 1927) of a fraction: all p with |mean - p| <= t sqrt(p (1 - p) / n), where n is the
        number of independent rows that would give this standard error; `rows` if all are right or all are wrong.

        Args:
            mean, error: a mean and its standard error.
            quantile: of Student's t.
            rows: as in `unseen`.
        """
        if not self.score:
            return self.cut(mean - quantile * error), self.cut(mean + quantile * error)
        share = self._share(mean)
        single = share * (1 - share)  # the variance of one row
        ratio = quantile**2 * ((error / self.span) ** 2 / single if single > 0 else 1 / rows)
        half = math.sqrt(ratio * (single + ratio / 4))
        low, high = ((share + ratio / 2 + sign * half) / (1 + ratio) for sign in (-1, 1))
        # Clipping keeps the ends exact despite rounding.
        return self.low + self.span * max(min(low, share), 0.0), self.low + self.span * min(max(high, share), 1.0)

    def _share(self, value: float) -> float:
        share = (self.cut(value) - self.low) / self.span
        return float(round(share)) if abs(share - round(share)) < ROUNDING else share


OPEN = Scale()
_FRACTION = Scale(0.0, 1.0, score=True)
SCALES = {
    "accuracy": _FRACTION,
    "macro_f1": _FRACTION,
    "weighted_f1": _FRACTION,
    "auroc": _FRACTION,
    "mcc": Scale(-1.0, 1.0, score=True),
    "ece": Scale(0.0, 1.0),  # a mean of absolute gaps, not a fraction of rows
    "loss": Scale(0.0),
    "brier": Scale(0.0, 2.0),
}


def scale_of(metric: str) -> Scale:
    """Return the scale of a metric; one without ends if the metric is unknown."""
    if metric in SCALES:
        return SCALES[metric]
    known = all_metrics().get(metric)
    return OPEN if known is None else Scale(known.low, known.high)


def informative_rows(metric: str, classes: npt.NDArray[np.int64]) -> float:
    """Return how many independent rows carry as much information about a metric as the test rows.

    The number differs from that of the test rows for metrics that weight classes otherwise than by their rows.

    Args:
        metric: a metric's name.
        classes: (C,) test rows of each class that occurs.
    """
    if metric == "auroc":
        return float(classes.min())  # ranks of the rarer class: Birnbaum & Klose (1957)
    if metric in ("macro_f1", "mcc"):
        return float(len(classes) ** 2 / np.sum(1 / classes))  # a mean over classes, each estimated from its own rows
    return float(classes.sum())


def no_interval(metric: str, classes: npt.NDArray[np.int64]) -> str | None:
    """Return why a metric on these test rows has no interval, as a clause for a note; None if it has one.

    These are the cases in which `interval` covers less than 93 % in tests/benchmarks/statistics (part metrics).

    Args:
        metric, classes: see `informative_rows`.
    """
    if metric == "ece":
        return "the calibration error of few rows a bin is estimated too high, by more than its standard error"
    per_class = len(classes) / float(np.sum(1 / classes))
    if metric == "macro_f1" and per_class < FEW_ROWS:
        return f"F1 of few rows a class is estimated too low: here are {per_class:.1f} (harmonic mean), not {FEW_ROWS}"
    least = 2 * FEW_ROWS if metric == "loss" else FEW_ROWS  # a few rows carry most of a loss
    if metric in ("mcc", "loss") and len(classes) == 2 and classes.min() < least:
        return f"the rarer class has {classes.min()} rows, fewer than {least}, and decides the error"
    return None
