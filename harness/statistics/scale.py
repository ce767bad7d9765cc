"""The scale of a metric: where it ends, and intervals of means that stay between its ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Wrong rows from which an estimated variance counts as much as that of independent rows.
FEW_WRONG = 4.0
ROUNDING = 1e-12  # a mean this near to an end is at the end


@dataclass(frozen=True)
class Scale:
    """Where the values of a metric can lie.

    Attributes:
        low, high: its ends, infinite where there is none.
        score: whether a mean's interval is a score interval, which needs both ends; else it is cut at the ends.
    """

    low: float = -math.inf
    high: float = math.inf
    score: bool = False

    @property
    def span(self) -> float:
        """The largest difference of two values."""
        return self.high - self.low

    def cut(self, value: float) -> float:
        """The nearest value on the scale."""
        return min(max(value, self.low), self.high)

    def unseen(self, mean: float, variance: float, examples: int, rows: float) -> float:
        """What the variance of a mean lacks where few rows are wrong, so that their variance is hardly known.

        Kish's (1965) design effect, the variance over that of as many independent rows, is drawn towards that of
        independent rows, as if these had been seen to be wrong `FEW_WRONG` times; one that is larger stays.

        Args:
            mean, variance: a mean over examples and its estimated variance.
            examples: n.
            rows: of these, how many independent ones tell as much; see `informative_rows`.
        """
        if not self.score or (share := self._share(mean)) in (0, 1):
            return 0.0
        alone = share * (1 - share) * self.span**2 / examples
        wrong = rows * min(share, 1 - share)
        drawn = (wrong * variance + FEW_WRONG * alone * examples / rows) / (wrong + FEW_WRONG)
        return max(drawn - variance, 0.0)

    def limits(self, mean: float, error: float, quantile: float, rows: float) -> tuple[float, float]:
        """Limits of the interval of a mean, which hold the mean and lie on the scale.

        The score interval (Wilson 1927) of a fraction: all p with |mean - p| <= t sqrt(p (1 - p) / n), where n is the
        number of independent rows that would give this standard error; `rows` where all are right or all are wrong.

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
        # Exact at the ends, whatever the rounding.
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
    "ece": Scale(0.0, 1.0),  # a mean of absolute gaps, no share of rows
    "loss": Scale(0.0),
}


def scale_of(metric: str) -> Scale:
    """The scale of a metric; one without ends if the metric is not known."""
    return SCALES.get(metric, OPEN)


def informative_rows(metric: str, classes: npt.NDArray[np.int64]) -> float:
    """How many independent rows tell as much as the test rows do of a metric whose classes weigh otherwise than rows.

    Args:
        metric: a metric's name.
        classes: (C,) test rows of each class that occurs.
    """
    if metric == "auroc":
        return float(classes.min())  # ranks of the rarer class: Birnbaum & Klose (1957)
    if metric in ("macro_f1", "mcc"):
        return float(len(classes) ** 2 / np.sum(1 / classes))  # a mean of classes, each with its own rows
    return float(classes.sum())
