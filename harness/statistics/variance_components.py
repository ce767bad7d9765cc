"""Variance components of scores (seeds x examples), shared by intervals and comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Results of the crossed random-effects analysis of variance (Searle, Casella & McCulloch 1992, chapter 4).

    score(seed, example) = mean + seed effect + example effect + residual, with one observation per combination.

    Attributes:
        seeds, examples: S and n.
        mean: mean over all scores.
        example_means: (n,) mean over the seeds.
        seed_variance: variance of the seed means (S,), including the residuals' part; None with one seed.
        residual_variance: mean square of the residuals; 0 with one seed, which cannot separate it from the examples'
            variance.
    """

    seeds: int
    examples: int
    mean: float
    example_means: Scores
    seed_variance: float | None
    residual_variance: float

    @property
    def deterministic(self) -> bool:
        """True if there are several seeds and all of them gave identical scores."""
        return self.seed_variance == 0 and self.residual_variance == 0

    @property
    def bounded_seed_variance(self) -> float:
        """`seed_variance`, at least the residuals' part: no seed effect has a negative variance. 0 with one seed."""
        return max(self.seed_variance or 0.0, self.residual_variance / self.examples)

    @property
    def example_variance(self) -> float:
        """The examples' part of the variance of the mean, as estimated; may be negative."""
        return float(np.var(self.example_means, ddof=1)) / self.examples - self.residual_of_mean

    @property
    def floor(self) -> float:
        """Variance of a mean if one example of n differs: rows that all agree do not prove that all rows would.

        A 95 % limit is then 2 / n away, about where the rule of three (Hanley & Lippman-Hand 1983) puts it, for scores
        whose unit is 1.
        """
        return 1.0 / self.examples**2

    @property
    def residual_of_mean(self) -> float:
        """The residuals' part of the variance of the mean."""
        return self.residual_variance / (self.seeds * self.examples)

    @property
    def seed_std(self) -> float | None:
        """Standard deviation between seeds on unlimited examples; None with one seed."""
        if self.seed_variance is None:
            return None
        return float(np.sqrt(max(self.seed_variance - self.residual_variance / self.examples, 0.0)))


def components(scores: Scores) -> Components:
    """Estimate the variance components of scores (S, n).

    Raises:
        HarnessError: the scores are not two-dimensional, too few, or not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise HarnessError(f"Statistics need scores of at least 1 seed x 2 examples, not of the shape {scores.shape}.")
    seeds, examples = scores.shape
    example_means = scores.mean(axis=0)
    mean = float(example_means.mean())
    if not np.isfinite(mean):
        raise HarnessError("Statistics need finite scores: leave out runs whose predictions are not finite.")
    if seeds == 1:
        return Components(1, examples, mean, example_means, None, 0.0)
    if np.array_equal(scores[0], scores[1]) and (scores == scores[0]).all():
        return Components(seeds, examples, mean, scores[0], 0.0, 0.0)
    seed_means = scores.mean(axis=1)
    rest = scores - example_means
    residual = float(np.einsum("ij,ij->", rest, rest)) - examples * float(np.square(seed_means - mean).sum())
    residual = max(residual, 0.0) / ((seeds - 1) * (examples - 1))
    return Components(seeds, examples, mean, example_means, float(seed_means.var(ddof=1)), residual)
