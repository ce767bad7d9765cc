"""The interval of a mean that counts both seeds and test examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.statistics.components import Scores, components

Scope = Literal["seeds", "models"]


@dataclass(frozen=True)
class Interval:
    """A mean and what is known of it.

    Attributes:
        mean, low, high: in the unit of the scores.
        error: standard error of the mean.
        df: degrees of freedom of that error.
        seed_std: estimated standard deviation between seeds, the examples' noise removed; None with one seed.
        seeds, examples: what the mean is over.
        scope: "seeds": holds for the method, whatever the seed; "models": holds for this one trained model only.
    """

    mean: float
    low: float
    high: float
    error: float
    df: float
    seed_std: float | None
    seeds: int
    examples: int
    scope: Scope


def satterthwaite(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Variance and approximate degrees of freedom of a sum of independent variances (Satterthwaite 1946).

    Args:
        parts: (estimate, degrees of freedom); an estimate that is subtracted is negative.
    """
    terms = [(value, df) for value, df in parts if value != 0]
    variance = sum(value for value, _ in terms)
    if variance <= 0:
        return 0.0, max((df for _, df in terms), default=1.0)
    return variance, variance**2 / sum(value**2 / df for value, df in terms)


def interval(scores: Scores, confidence: float = 0.95) -> Interval:
    """Interval of the mean over seeds and over the population that the examples were drawn from.

    The scores follow a two-way crossed random-effects model without replication; the variance of the mean is
    (MS_seed + MS_example - MS_residual) / (S n) with Satterthwaite's degrees of freedom (Burdick & Graybill 1992,
    section 6.3), and the quantile is Student's.

    Args:
        scores: (S, n), one row a seed; every row on the same examples.
        confidence: coverage over repeated studies, 0 to 1.

    Raises:
        HarnessError: fewer than 1 seed x 2 examples, or scores that are not finite.
    """
    from scipy.special import stdtrit

    found = components(scores)
    seeds, examples = found.seeds, found.examples
    spread = float(np.var(found.example_means, ddof=1)) / examples
    residual = found.residual_of_mean
    if spread <= residual:
        # The examples' own variance is estimated as 0: the seeds' part already holds the residuals.
        parts = [(found.seed_of_mean, seeds - 1.0)] if found.seed_of_mean else [(spread, examples - 1.0)]
    else:
        parts = [
            (found.seed_of_mean, seeds - 1.0),
            (spread, examples - 1.0),
            (-residual, (seeds - 1.0) * (examples - 1.0)),
        ]
    variance, df = satterthwaite(parts)
    error = float(np.sqrt(variance))
    half = float(stdtrit(df, (1 + confidence) / 2)) * error
    return Interval(
        mean=found.mean,
        low=found.mean - half,
        high=found.mean + half,
        error=error,
        df=df,
        seed_std=found.seed_std,
        seeds=seeds,
        examples=examples,
        scope="models" if seeds == 1 else "seeds",
    )
