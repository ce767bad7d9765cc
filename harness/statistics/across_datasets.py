"""Cells compared across data sets: how probably one is better in practice, and how often it wins.

A block is a data set: average the draws and shots of one first (`harness.report` does), because they share test rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.statistics.performance_profiles import Estimate, Runs

Array = npt.NDArray[np.float64]
PRIOR = 0.5  # weight of the prior's difference of 0 among data sets of weight 1


@dataclass(frozen=True)
class Practical:
    """Cell a against cell b on a data set like these.

    Attributes:
        better: probability that a is practically better.
        equivalent: probability that the two differ by less than the region of practical equivalence.
        worse: probability that b is practically better.
    """

    better: float
    equivalent: float
    worse: float


def practical_differences(
    means: npt.ArrayLike, rope: float, draws: int = 20_000, seed: int = 0
) -> tuple[tuple[Practical | None, ...], ...]:
    """Compare all pairs of cells by the Bayesian signed-rank test (Benavoli et al. 2014; 2017, section 4.2).

    The distribution of the differences over data sets has a Dirichlet process as prior, of weight 0.5 at a difference
    of 0. In each draw of it, one of the three cases is the most probable for the mean of two differences (the Walsh
    averages of Wilcoxon's test); the result is how often each case is. The same as `baycomp.SignedRankTest`.

    Args:
        means: (data sets, cells) in one metric's unit, higher is better.
        rope: half-width of the region of practical equivalence, such as the non-inferiority margin; at least 0.
        draws: of the posterior.
        seed: of the draws.

    Returns:
        K x K, [a][b] for a against b; None on the diagonal.

    Raises:
        HarnessError: fewer than 2 data sets or cells, a mean that is missing, or a negative rope.
    """
    table = np.asarray(means, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise HarnessError(f"This needs at least 2 data sets x 2 cells, not means of the shape {table.shape}.")
    if not np.isfinite(table).all():
        raise HarnessError("Every cell needs a mean on every data set. Run the missing cells, or compare fewer.")
    if rope < 0:
        raise HarnessError(f"The region of practical equivalence has a half-width of 0 or more, not {rope}.")
    count = table.shape[1]
    weights = np.random.default_rng(seed).dirichlet([PRIOR, *np.ones(len(table))], size=draws)
    found: list[list[Practical | None]] = [[None] * count for _ in range(count)]
    for a in range(count):
        for b in range(a + 1, count):
            better, equivalent, worse = _shares(np.append(0.0, table[:, a] - table[:, b]), rope, weights)
            found[a][b] = Practical(better, equivalent, worse)
            found[b][a] = Practical(worse, equivalent, better)
    return tuple(tuple(row) for row in found)


def _shares(differences: Array, rope: float, weights: Array) -> tuple[float, float, float]:
    walsh = (differences[:, None] + differences[None, :]) / 2
    # Averages on the border count half for either side, so that without a region nothing lies between.
    above, below = (
        np.einsum("di,ij,dj->d", weights, np.heaviside(side * walsh - rope, 0.5), weights, optimize=True)
        for side in (1, -1)
    )
    between = np.maximum(1 - above - below, 0.0) if rope > 0 else np.zeros(len(weights))
    cases = np.stack([above, between, below])
    largest = cases >= cases.max(axis=0) - 1e-12
    better, equivalent, worse = (largest / largest.sum(axis=0)).mean(axis=1).tolist()
    return better, equivalent, worse


def probability_of_improvement(
    a: Runs, b: Runs, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Return how probably a run of a scores higher than one of b on a data set of these, ties counting half.

    The mean over data sets of the Mann-Whitney statistic, with the percentile interval of a bootstrap of the runs
    within each data set (Agarwal et al. 2021, equation 2; the package rliable). So it holds for these data sets and
    test rows, over training runs.

    Args:
        a, b: per data set, in the same order, the scores of the runs; higher is better.
        confidence: of the interval.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        HarnessError: no data set, different numbers of them, or one without runs.
    """
    if not a or len(a) != len(b) or not all(len(runs) for runs in (*a, *b)):
        raise HarnessError(
            f"Both cells need runs on the same data sets; here they have runs on {sum(bool(len(r)) for r in a)} and "
            f"{sum(bool(len(r)) for r in b)} of {max(len(a), len(b))}."
        )
    random = np.random.default_rng(seed)
    value, samples = 0.0, np.zeros(resamples)
    for mine, other in zip(a, b, strict=True):
        wins = np.sign(np.subtract.outer(np.asarray(mine, float), np.asarray(other, float))) / 2 + 0.5
        value += wins.mean() / len(a)
        drawn = [random.multinomial(size, np.full(size, 1 / size), resamples) / size for size in wins.shape]
        samples += np.einsum("ri,ij,rj->r", drawn[0], wins, drawn[1], optimize=True) / len(a)
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high))
