"""Variance components of scores (seeds x examples), shared by intervals and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.statistics.variance.replicates import distinct_runs, units
from harness.statistics.variance.row_clusters import Groups, cluster_scores

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Results of the crossed random-effects analysis of variance (Searle, Casella & McCulloch 1992, chapter 4).

    score(seed, example) = mean + seed effect + example effect + residual, with one observation per combination. With
    several replicates, these take the place of the seeds, which are nested in them; with groups of rows, the groups
    take the place of the examples.

    Attributes:
        seeds, examples: S and n: the independent units, which are replicates and groups where there are any.
        mean: mean over all scores.
        example_means: (n,) mean over the seeds.
        seed_variance: variance of the seed means (S,), including the residuals' part; None with one seed.
        residual_variance: mean square of the residuals; 0 with one seed, which cannot separate it from the examples'
            variance.
        scores: (S, n) of the units.
        replicated: whether the units are replicates.
        within: the nested seeds' part of the variance of one replicate's mean; 0 without replicates.
        nested_variance: variance between nested seeds, without the residuals' part; None without two in a replicate.
        shared: variance of the mean that runs in several replicates add; 0 without.
        runs: number of distinct runs.
    """

    seeds: int
    examples: int
    mean: float
    example_means: Scores
    seed_variance: float | None
    residual_variance: float
    scores: Scores
    replicated: bool = False
    within: float = 0.0
    nested_variance: float | None = None
    shared: float = 0.0
    runs: int = 1

    @property
    def deterministic(self) -> bool:
        """True if there are several seeds and all of them gave identical scores."""
        return self.seed_variance == 0 and self.residual_variance == 0 and self.within == 0

    @property
    def bounded_seed_variance(self) -> float:
        """`seed_variance`, at least the parts of the residuals and nested seeds: no effect has a negative variance.

        0 with one seed.
        """
        return max(self.seed_variance or 0.0, self.residual_variance / self.examples, self.within)

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
        """Standard deviation between seeds on unlimited examples; None with one seed (a replicate)."""
        if self.replicated:
            return None if self.nested_variance is None else float(np.sqrt(self.nested_variance))
        if self.seed_variance is None:
            return None
        return float(np.sqrt(max(self.seed_variance - self.residual_variance / self.examples, 0.0)))

    @property
    def replicate_std(self) -> float | None:
        """Standard deviation between replicates on unlimited examples and seeds; None with one replicate."""
        if not self.replicated or self.seed_variance is None:
            return None
        return float(np.sqrt(max(self.seed_variance - max(self.within, self.residual_variance / self.examples), 0.0)))


def components(
    scores: Scores, replicates: Sequence[int] | None = None, groups: Groups | None = None, draws: bool = False
) -> Components:
    """Estimate the variance components of scores (S, n).

    Args:
        scores: (S, n), one row per run.
        replicates: (S,) the replicate of each run, see `harness.statistics.variance.replicates`; None: one for all.
        groups: (n,) the cluster of each example; None: each its own.
        draws: whether replicates are draws of training rows.

    Raises:
        HarnessError: the scores are not two-dimensional, too few, or not finite; or labels or groups do not fit them.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise HarnessError(f"Statistics need scores of at least 1 seed x 2 examples, not of the shape {scores.shape}.")
    if groups is not None:
        scores = cluster_scores(scores, groups)
    if replicates is None:
        return _crossed(scores)
    found = units(scores, replicates, draws)
    if found is None:
        return _crossed(distinct_runs(scores, replicates))
    crossed = _crossed(found.scores)
    noise = crossed.residual_variance / crossed.examples / found.share  # the residuals' part of one seed's mean
    return replace(
        crossed,
        replicated=True,
        within=found.within,
        nested_variance=None if found.seed_variance is None else max(found.seed_variance - noise, 0.0),
        shared=found.shared,
        runs=found.runs,
    )


def _crossed(scores: Scores) -> Components:
    seeds, examples = scores.shape
    example_means = scores.mean(axis=0)
    mean = float(example_means.mean())
    if not np.isfinite(mean):
        raise HarnessError("Statistics need finite scores: leave out runs whose predictions are not finite.")
    if seeds == 1:
        return Components(1, examples, mean, example_means, None, 0.0, scores)
    if np.array_equal(scores[0], scores[1]) and (scores == scores[0]).all():
        return Components(seeds, examples, mean, scores[0], 0.0, 0.0, scores, runs=seeds)
    seed_means = scores.mean(axis=1)
    rest = scores - example_means
    residual = float(np.einsum("ij,ij->", rest, rest)) - examples * float(np.square(seed_means - mean).sum())
    residual = max(residual, 0.0) / ((seeds - 1) * (examples - 1))
    variance = float(seed_means.var(ddof=1))
    return Components(seeds, examples, mean, example_means, variance, residual, scores, runs=seeds)
