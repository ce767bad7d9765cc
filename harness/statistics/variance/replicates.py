"""Runs of a cell that belong to several replicates: tuning runs, or draws of training rows, with seeds nested in them.

A replicate's runs share a configuration (or training rows), so they are no independent samples of what a new tuning run
(or draw) would give. The replicates are: their means are the units of the analysis, as the seeds are where there is one
replicate (Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks", section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Replicates of a cell as units of its analysis.

    Attributes:
        labels: (R,) the replicates, ascending.
        scores: (R, n) mean over the seeds of each.
        within: the seeds' part of the variance of one replicate's mean, averaged over the replicates.
        shared: variance of the mean over all replicates that their common runs add; 0 if they have no run in common.
        seed_variance: variance of the means of seeds of one replicate; None if no replicate has two.
        share: variance of a replicate's mean over that of a seed, averaged: 1 / S for S seeds each.
        runs: number of distinct runs.
    """

    labels: tuple[int, ...]
    scores: Array
    within: float
    shared: float
    seed_variance: float | None
    share: float
    runs: int


def units(scores: Array, labels: Sequence[int], draws: bool = False) -> Units | None:
    """Average the seeds of each replicate.

    Replicates count equally, whatever their numbers of seeds. Rows of scores that are equal in two replicates are taken
    as one run that both share, as when two tuning runs find the same configuration.

    Args:
        scores: (S, n), one row per run of the cell.
        labels: (S,) the replicate of each.
        draws: whether replicates are draws of training rows: equal runs then mean that the draw has no effect.

    Returns:
        None if all runs have one replicate, or all replicates have the same runs: the seeds are the units then.

    Raises:
        HarnessError: the numbers of runs and labels differ.
    """
    if len(labels) != len(scores):
        raise HarnessError(f"Each run has one replicate; here are {len(scores)} runs and {len(labels)} labels.")
    of_run = np.asarray(labels)
    names, replicate = np.unique(of_run, return_inverse=True)
    if len(names) == 1:
        return None
    _, run = np.unique(np.ascontiguousarray(scores), axis=0, return_inverse=True)
    run = run.reshape(-1)
    weights = np.zeros((len(names), run.max() + 1))  # of each distinct run in each replicate's mean
    np.add.at(weights, (replicate, run), 1.0)
    weights /= weights.sum(axis=1, keepdims=True)
    if not draws and (weights == weights[0]).all():
        return None
    overlap = weights @ weights.T
    off = overlap[~np.eye(len(names), dtype=bool)]
    variance = _within(scores.mean(axis=1), replicate)
    known = variance or 0.0
    return Units(
        labels=tuple(int(name) for name in names),
        scores=np.stack([scores[replicate == r].mean(axis=0) for r in range(len(names))]),
        within=known * float(np.diag(overlap).mean() - off.mean()),
        shared=known * float(off.mean()),
        seed_variance=variance,
        share=float(np.diag(overlap).mean()),
        runs=weights.shape[1],
    )


def _within(means: Array, replicate: npt.NDArray[np.intp]) -> float | None:
    groups = [means[replicate == r] for r in range(replicate.max() + 1)]
    df = sum(len(group) - 1 for group in groups)
    if not df:
        return None
    return float(sum(((group - group.mean()) ** 2).sum() for group in groups) / df)


def distinct_runs(scores: Array, labels: Sequence[int]) -> Array:
    """Return one row of scores for each seed, for a cell whose replicates all have the same runs (`units` is None)."""
    of_run = np.asarray(labels)
    found: Array = scores[of_run == of_run[0]]
    return found


def common(replicates: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the replicates that all cells have, ascending.

    Raises:
        HarnessError: there is none.
    """
    sets = [set(labels) for labels in replicates]
    found = tuple(sorted(set.intersection(*sets)))
    if not found:
        each = "; ".join(", ".join(str(label) for label in sorted(labels)) for labels in sets)
        raise HarnessError(
            "Replicates that are draws of training rows are compared draw by draw, so all cells need one in common; "
            f"theirs are {each}. Confirm the missing draws, or compare fewer cells."
        )
    return found
