"""Confidence interval of a mean that accounts for both seeds and test examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.statistics.scale import OPEN, Scale
from harness.statistics.variance.components import Scores, components
from harness.statistics.variance.degrees_of_freedom import weighted_df
from harness.statistics.variance.row_clusters import Groups

Scope = Literal["seeds", "models"]


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        mean, low, high: in the unit of the scores.
        error: standard error of the mean.
        df: degrees of freedom of that error.
        seed_std: estimated standard deviation between seeds, without the examples' noise; None with one seed.
        seeds, examples: numbers of runs and examples in the mean.
        scope: "seeds": holds for the method, whatever the seed; "models": holds for this one trained model only.
        replicates: number of replicates; with 1 it holds for this tuning run and this draw of training rows only.
        replicate_std: estimated standard deviation between replicates, without the seeds' and examples' noise; None
            with one replicate.
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
    replicates: int = 1
    replicate_std: float | None = None


def interval(
    scores: Scores,
    confidence: float = 0.95,
    scale: Scale = OPEN,
    rows: float | None = None,
    replicates: Sequence[int] | None = None,
    groups: Groups | None = None,
) -> Interval:
    """Return the interval of the mean over seeds and over the population that the examples were drawn from.

    The scores follow a two-way crossed random-effects model without replication. The variance of the mean is (MS_seed +
    MS_example - MS_residual) / (S n) (Burdick & Graybill 1992, section 6.3); the quantile is Student's with the degrees
    of freedom of `weighted_df`.

    Args:
        scores: (S, n), one row per seed, all on the same examples.
        confidence: coverage over repeated studies, 0 to 1.
        scale: range of the mean, in the orientation of the scores; the limits stay within it.
        rows: see `Scale.limits`; n if None.
        replicates: (S,) the replicate of each run: a tuning run or a draw of training rows, in which the seeds are
            nested. Replicates are then the sample, and the interval holds for a new one. One replicate: as None.
        groups: (n,) the cluster of each example, if some belong together; clusters are then the sample.

    Raises:
        HarnessError: fewer than 1 seed x 2 examples, scores that are not finite, or labels that do not fit them.
    """
    from scipy.special import stdtrit

    found = components(scores, replicates, groups)
    floor = 0.0 if scale.score else found.floor
    spread = max(found.example_variance, floor)
    # If the examples' part is estimated as zero, the seeds' part must contain at least the residuals.
    bounded = spread <= floor or found.replicated
    seed = (found.bounded_seed_variance if bounded else found.seed_variance or 0.0) / found.seeds + found.shared
    rows = (scores.shape[1] if rows is None else rows) * found.examples / scores.shape[1]
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
        seeds=found.runs,
        examples=scores.shape[1],
        scope="models" if found.seeds == 1 else "seeds",
        replicates=found.seeds if found.replicated else 1,
        replicate_std=found.replicate_std,
    )
