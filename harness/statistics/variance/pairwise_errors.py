"""Standard errors of the differences of all pairs of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.statistics.variance.components import Components
from harness.statistics.variance.degrees_of_freedom import weighted_df
from harness.statistics.variance.shrinkage import moderate

Array = npt.NDArray[np.float64]
SHARE_POWER = 1.0  # see `weighted_df`; the tails that many pairs need ask for less than one interval's power


@dataclass(frozen=True)
class PairwiseErrors:
    """Differences of the means of K cells, row minus column, and the parts of their variance.

    Attributes:
        means: (K,).
        seed, seed_df: (K, K) the seeds' part (with replicates: theirs) and its degrees of freedom. It contains the
            residuals' part.
        cell_df: (K,) degrees of freedom of a cell's own seed variance.
        spread: (K, K) the examples' part, without the residuals.
        residual: (K, K) the residuals' part.
        covariance: (K, K) of the examples' part of the means.
        examples: their number, of clusters if there are any.
    """

    means: Array
    seed: Array
    seed_df: Array
    cell_df: Array
    spread: Array
    residual: Array
    covariance: Array
    examples: int

    @property
    def mean(self) -> Array:
        """(K, K) differences."""
        return self.means[:, None] - self.means[None, :]

    @property
    def error(self) -> Array:
        """(K, K) standard errors."""
        return np.asarray(np.sqrt(self.seed + self.spread))

    @property
    def df(self) -> Array:
        """(K, K) degrees of freedom of the standard errors."""
        return weighted_df(self.seed, self.seed_df, self.spread, self.examples - 1.0, SHARE_POWER)

    @property
    def cell_seed(self) -> Array:
        """(K,) the part of each cell in `seed`: the solution of seed[a][b] = own[a] + own[b] by least squares."""
        count = len(self.means)
        sums = self.seed.sum(axis=1) - np.diag(self.seed)
        if count == 2:
            return np.asarray(sums / 2)
        found: Array = np.maximum((sums - sums.sum() / (2 * (count - 1))) / (count - 2), 0.0)
        return found


def pairs(found: Sequence[Components], paired: bool = False) -> PairwiseErrors:
    """Return difference and error of every pair of at least 2 cells.

    Args:
        found: variance components of the cells.
        paired: whether replicate r of each cell shares its training rows with replicate r of the others. All cells have
            the same replicates then.
    """
    examples = found[0].examples
    # Variance over the examples of the paired difference of seed means; the seed variance already has the residuals.
    covariance = np.cov(np.stack([each.example_means for each in found])) / examples
    own = np.diag(covariance)
    noise = np.array([each.residual_of_mean for each in found])
    if paired:
        seed, seed_df, cell_df, residual = _paired_parts(found)
    else:
        seed, seed_df, cell_df = _seed_parts(found)
        residual = _sums(noise)
    floor = found[0].floor
    return PairwiseErrors(
        means=np.array([each.mean for each in found]),
        seed=seed,
        seed_df=seed_df,
        cell_df=cell_df,
        spread=np.maximum(own[:, None] + own[None, :] - 2 * covariance - residual, floor),
        residual=residual,
        covariance=covariance - np.diag(np.minimum(noise, own)) + np.eye(len(found)) * floor / 2,
        examples=examples,
    )


def skewness(found: Sequence[Components], error: Array) -> Array:
    """Return the skewness of the examples' part of the mean difference of every pair (K, K), row minus column.

    Args:
        error: (K, K) standard errors of the mean differences.
    """
    rows = np.stack([each.example_means for each in found])
    rows = rows - rows.mean(axis=1, keepdims=True)
    squares = rows**2
    own, mixed = (rows * squares).sum(axis=1), squares @ rows.T  # (a - b)^3 = a^3 - 3 a^2 b + 3 a b^2 - b^3
    third = (own[:, None] - own[None, :] - 3 * (mixed - mixed.T)) / rows.shape[1]
    found_skewness: Array = third / (rows.shape[1] ** 2 * error**3)
    return found_skewness


def _paired_parts(found: Sequence[Components]) -> tuple[Array, Array, Array, Array]:
    """Return the replicates' part of the variance, its degrees of freedom, and the residuals' part, of each pair.

    The analysis is that of one cell, applied to the differences within each replicate: what a draw of training rows
    does to both cells cancels. Its variance is moderated towards the mean over all pairs.
    """
    scores = np.stack([each.scores for each in found])  # (K, R, n)
    count, replicates, examples = scores.shape
    of_run = scores.mean(axis=2) - scores.mean(axis=(1, 2))[:, None]
    rest = (scores - scores.mean(axis=1, keepdims=True) - of_run[:, :, None]).reshape(count, -1)
    variance = _squares(of_run) / (replicates - 1)
    residual = _squares(rest) / ((replicates - 1) * (examples - 1))
    nested = _sums(np.array([each.within for each in found]))
    # No effect has a negative variance, so a difference varies at least as its residuals and its seeds do.
    variance = np.maximum(variance, np.maximum(residual / examples, nested))
    df = np.full_like(variance, replicates - 1.0)
    upper = np.triu_indices(count, 1)
    varying = variance[upper] > 0
    if varying.any():
        index = upper[0][varying], upper[1][varying]
        # The pairs share their cells, so together they have the degrees of freedom of K - 1 contrasts.
        pool = (replicates - 1.0) * max(min(count - 1, int(varying.sum())), 1)
        moderated, moderated_df = moderate(variance[index], df[index], pool)
        for one, other in (index, index[::-1]):
            variance[one, other], df[one, other] = moderated, moderated_df
    np.fill_diagonal(variance, 0.0)
    shared = _sums(np.array([each.shared for each in found]))
    return variance / replicates + shared, df, np.median(df, axis=1), residual / (replicates * examples)


def _squares(values: Array) -> Array:
    """Return the sum of squares of the difference of each pair of rows."""
    product = values @ values.T
    own = np.diag(product)
    return np.maximum(own[:, None] + own[None, :] - 2 * product, 0.0)


def _seed_parts(found: Sequence[Components]) -> tuple[Array, Array, Array]:
    """Return the seeds' part of the variance of each pair's difference, Welch's (1938) df, and each cell's own df."""
    variance, squares, own_df = np.zeros(len(found)), np.zeros(len(found)), np.ones(len(found))
    pool = 1.0
    for replicated in (False, True):  # the variance of a replicate's mean is of another size than that of a seed
        kind = [
            k
            for k, each in enumerate(found)
            if each.seeds > 1 and not each.deterministic and each.replicated is replicated
        ]
        if kind:
            raw = np.array([found[k].bounded_seed_variance for k in kind])
            raw_df = np.array([found[k].seeds - 1.0 for k in kind])
            moderated, own_df[kind] = moderate(raw, raw_df, float(raw_df.sum()))
            variance[kind] = moderated / np.array([found[k].seeds for k in kind])
            variance[kind] += np.array([found[k].shared for k in kind])
            squares[kind] = variance[kind] ** 2 / own_df[kind]
            pool = max(pool, float(raw_df.sum()))
    both = _sums(variance)
    df = np.divide(both**2, _sums(squares), out=np.ones_like(both), where=both > 0)
    # Two moderated variances share one pool, so together they have at most its degrees of freedom.
    return both, np.minimum(df, pool), own_df


def _sums(values: Array) -> Array:
    total: Array = values[:, None] + values[None, :]
    return total
