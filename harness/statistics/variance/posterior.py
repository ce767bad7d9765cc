"""The posterior distribution of the cells' true means."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from harness.statistics.variance.pairwise_errors import PairwiseErrors

Array = npt.NDArray[np.float64]
OUTLYING = 4.0  # robust standard deviations from the median
SPREADS = 24  # values of the prior's deviation


def posterior_means(model: PairwiseErrors, draws: int, rows: bool = True) -> Array:
    """Draw true means (draws, K) of at least 2 cells.

    The cells are taken as a sample of a normal distribution whose mean is unknown, with a flat prior, as is its
    deviation, with a uniform one (Gelman 2006), so that the leader of many cells is not trusted for its luck (Efron &
    Morris 1975). Cells far from the rest take no part in that, nor do any if there are fewer than 3; they have flat
    priors. The error model is that of `compare`, normal, with the seeds' variance enlarged as Student's t has it.
    The same model gives the same draws.

    Args:
        model: estimates and errors of the means.
        draws: their number.
        rows: whether the examples are a sample; otherwise the means are those of unlimited seeds on these examples.
    """
    generator = np.random.default_rng(0)
    df = model.cell_df
    heavier = np.where(df > 3, df / np.maximum(df - 2, 1.0), 3.0)
    covariance = np.diag(model.cell_seed * heavier) + (model.covariance if rows else 0.0)
    alike = _alike(model.means)
    spreads, weights = _spreads(model.means[alike], covariance[np.ix_(alike, alike)])
    found = []
    for spread, count in zip(spreads, generator.multinomial(draws, weights), strict=True):
        if count:
            found.append(_given(model.means, covariance, alike, float(spread), int(count), generator))
    return np.concatenate(found)


def _alike(means: Array) -> npt.NDArray[np.intp]:
    middle = np.median(means)
    deviation = 1.4826 * np.median(np.abs(means - middle))
    inside = np.flatnonzero(np.abs(means - middle) <= OUTLYING * deviation)
    return inside if len(inside) >= 3 else np.arange(0)


def _spreads(means: Array, covariance: Array) -> tuple[Array, Array]:
    """Return values of the prior's deviation, infinite if it is flat, and their posterior probabilities."""
    if len(means) < 3:
        return np.array([math.inf]), np.ones(1)
    size = len(means)
    error = (np.trace(covariance) - (covariance.sum() - np.trace(covariance)) / (size - 1)) / size
    spreads = np.linspace(0.02, 3.0, SPREADS) * math.sqrt(float(means.var(ddof=1)) + max(error, 0.0) + 1e-18)
    logs = []
    for spread in spreads:
        inverse = np.linalg.inv(covariance + spread**2 * np.eye(size))  # the spread is above 0
        weight = inverse.sum()
        rest = means - (inverse @ means).sum() / weight
        logs.append((np.linalg.slogdet(inverse)[1] - math.log(weight) - rest @ inverse @ rest) / 2)
    chances = np.exp(np.array(logs) - max(logs))
    return spreads, chances / chances.sum()


def _given(
    means: Array,
    covariance: Array,
    alike: npt.NDArray[np.intp],
    spread: float,
    draws: int,
    generator: np.random.Generator,
) -> Array:
    """Draw the true means given the prior's deviation."""
    precision = np.zeros_like(covariance)
    if len(alike):  # the prior of cells that are alike, with their common mean integrated out
        size = len(alike)
        precision[np.ix_(alike, alike)] = (np.eye(size) - np.full((size, size), 1 / size)) / spread**2
    # (C^-1 + P)^-1 without the inverse of C, which may be singular
    posterior = np.linalg.solve(np.eye(len(means)) + covariance @ precision, covariance)
    center = np.linalg.solve(np.eye(len(means)) + covariance @ precision, means)
    values, vectors = np.linalg.eigh((posterior + posterior.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    found: Array = center + generator.normal(size=(draws, len(means))) @ root.T
    return found
