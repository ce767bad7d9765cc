"""Scales of metrics: their ends, and intervals of means that stay between these ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.api.family import all_metrics

# Number of wrong rows at which an estimated variance has the same weight as that of independent rows (`Scale.unseen`).
FEW_WRONG = 4.0
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
            rows: number of independent rows with the same information; see `Metric.informative_rows`.
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


def scale_of(metric: str) -> Scale:
    """Return the scale of a metric; one without ends if the metric is unknown."""
    known = all_metrics().get(metric)
    return OPEN if known is None else Scale(known.low, known.high, known.score_interval)
