"""Methods across tasks that share a metric: interquartile mean and performance profile, with bootstrap intervals.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS), sections 4.1 to
4.3 (the package rliable). Every task has the same weight, whatever its number of seeds.

The bootstrap resamples seeds within each task, so an interval describes the variation over training runs on these very
tasks and test rows. With fewer than about ten seeds it is too narrow (3 seeds: about 85 % for a nominal 95).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

Array = npt.NDArray[np.floating[Any]]
Runs = Sequence[Sequence[float]]  # of one method: per task the scores of its seeds, higher is better


@dataclass(frozen=True)
class Estimate:
    """A value and its bootstrap percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Profile:
    """Fraction of a method's runs that score at least each threshold.

    Attributes:
        thresholds: (T,).
        share: (T,), tasks weighted equally.
        low, high: (T,), pointwise bootstrap percentile interval.
    """

    thresholds: Array
    share: Array
    low: Array
    high: Array


def behind_best(scores: Mapping[str, Runs], metrics: Sequence[str]) -> dict[str, list[list[float]]]:
    """Put tasks on one scale: subtract the best method's mean on a task from its scores.

    Args:
        scores: per method, per task, the scores of the seeds; higher is better, every method on every task.
        metrics: of the tasks.

    Returns:
        The same structure, in the metric's unit; around 0 for the best method of a task.

    Raises:
        HarnessError: tasks have different metrics, whose differences have no common scale; or a run is missing.
    """
    if len(set(metrics)) > 1:
        raise HarnessError(
            f"Scores of different metrics are never averaged ({', '.join(sorted(set(metrics)))}). Compare these tasks "
            "by rank, or ask for the same task.metric on all of them."
        )
    for method, runs in scores.items():
        if len(runs) != len(metrics) or not all(len(seeds) for seeds in runs):
            have = sum(bool(len(seeds)) for seeds in runs)
            raise HarnessError(
                f"{method} has runs on {have} of {len(metrics)} tasks; a profile needs all. Leave it out."
            )
    best = [max(float(np.mean(runs[task])) for runs in scores.values()) for task in range(len(metrics))]
    return {
        method: [[score - top for score in seeds] for seeds, top in zip(runs, best, strict=True)]
        for method, runs in scores.items()
    }


def interquartile_mean(runs: Runs, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Average the middle half of all runs: robust like the median, but based on more of the runs.

    If a quarter of the runs is not a whole number, runs at the border count partially.
    """
    values = np.concatenate([np.asarray(seeds, dtype=float) for seeds in runs])
    order = np.argsort(values)

    def middle(weights: Array) -> Array:
        upper = np.cumsum(weights[..., order], axis=-1)
        kept = np.diff(np.clip(upper, 0.25, 0.75), axis=-1, prepend=0.25)
        return np.asarray(kept @ values[order] / 0.5)

    low, high = _percentiles(middle(_resampled(runs, resamples, seed)), confidence)
    return Estimate(float(middle(_weights(runs))), float(low), float(high))


def performance_profile(
    runs: Runs, thresholds: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Profile:
    """Return the fraction of runs at or above each threshold."""
    values = np.concatenate([np.asarray(seeds, dtype=float) for seeds in runs])
    levels = np.asarray(thresholds, dtype=float)
    reached = (values[:, None] >= levels).astype(float)
    low, high = _percentiles(_resampled(runs, resamples, seed) @ reached, confidence)
    return Profile(levels, _weights(runs) @ reached, low, high)


def _weights(runs: Runs) -> Array:
    """Return run weights (runs,) that sum to 1 and give every task the same weight."""
    return np.concatenate([np.full(len(seeds), 1 / len(seeds) / len(runs)) for seeds in runs])


def _resampled(runs: Runs, resamples: int, seed: int) -> Array:
    """Return run weights (resamples, runs) of bootstrap samples that are stratified by task."""
    random = np.random.default_rng(seed)
    counts = [random.multinomial(len(s), np.full(len(s), 1 / len(s)), resamples) / len(s) / len(runs) for s in runs]
    return np.concatenate(counts, axis=1)


def _percentiles(samples: Array, confidence: float) -> tuple[Array, Array]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return low, high
