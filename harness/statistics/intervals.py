"""The interval of a mean that counts both seeds and test examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.statistics.scale import OPEN, Scale
from harness.statistics.variance_components import Scores, components

Values = npt.NDArray[np.float64]
Scope = Literal["seeds", "models"]

# Of 1, 1.25, 1.5 and 2, the one whose coverage is closest to the nominal in tests/benchmarks/statistics.
SHARE_POWER = 1.25


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


def weighted_df(seed: Values, seed_df: Values, spread: Values, spread_df: float) -> Values:
    """Degrees of freedom of seed + spread: reciprocals of theirs, weighted by a power of each one's share of the sum.

    The power 2 is Satterthwaite's (1946), which covers too little where a part of few degrees of freedom is about as
    large as one of many; 1 is Cochran's (1964) weighting, on the reciprocals instead of the quantiles, and covers a
    little too much. `SHARE_POWER` lies between.

    Args:
        seed, spread: independent estimates of variances, any shape, at least 0.
        seed_df, spread_df: their degrees of freedom.
    """
    total = seed + spread
    share = np.divide(seed, total, out=np.zeros_like(total), where=total > 0)
    found: Values = 1 / (share**SHARE_POWER / seed_df + (1 - share) ** SHARE_POWER / spread_df)
    return found


def interval(scores: Scores, confidence: float = 0.95, scale: Scale = OPEN, rows: float | None = None) -> Interval:
    """Interval of the mean over seeds and over the population that the examples were drawn from.

    The scores follow a two-way crossed random-effects model without replication; the variance of the mean is
    (MS_seed + MS_example - MS_residual) / (S n) (Burdick & Graybill 1992, section 6.3), the quantile Student's with the
    degrees of freedom of `weighted_df`.

    Args:
        scores: (S, n), one row a seed; every row on the same examples.
        confidence: coverage over repeated studies, 0 to 1.
        scale: where the scores' mean can lie, in the orientation of the scores; the limits lie there, too.
        rows: see `Scale.limits`; n if None.

    Raises:
        HarnessError: fewer than 1 seed x 2 examples, or scores that are not finite.
    """
    from scipy.special import stdtrit

    found = components(scores)
    floor = 0.0 if scale.score else found.floor
    spread = max(found.example_variance, floor)
    # Where the examples' part is estimated as none, the seeds' part must hold at least the residuals.
    seed = (found.seed_variance or 0.0 if spread > floor else found.bounded_seed_variance) / found.seeds
    rows = found.examples if rows is None else rows
    spread += scale.unseen(found.mean, seed + spread, found.examples, rows)
    error = float(np.sqrt(seed + spread))
    seed_df = np.array(max(found.seeds - 1.0, 1.0))
    df = float(weighted_df(np.array(seed), seed_df, np.array(spread), found.examples - 1.0))
    quantile = float(stdtrit(df, (1 + confidence) / 2))
    low, high = scale.limits(found.mean, error, quantile, rows)
    return Interval(
        mean=found.mean,
        low=low,
        high=high,
        error=error,
        df=df,
        seed_std=found.seed_std,
        seeds=found.seeds,
        examples=found.examples,
        scope="models" if found.seeds == 1 else "seeds",
    )
