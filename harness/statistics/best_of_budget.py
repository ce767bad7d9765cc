"""Best of a budget: expected and observed best score of k trials.

Dodge et al. 2019, "Show Your Work: Improved Reporting of Experimental Results" (EMNLP), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError


@dataclass(frozen=True)
class Curve:
    """Best score by budget. Entry i belongs to `trials[i]`.

    Attributes:
        trials: numbers of trials, ascending.
        seconds: cost of that many trials; None if no trial's duration is known.
        best: the best score; higher is better.
        low, high: `best` minus and plus one standard deviation of the best, clipped to the worst and best observed
            score; `best` itself if the curve was observed, not estimated.
    """

    trials: tuple[int, ...]
    seconds: tuple[float, ...] | None
    best: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def expected_best(scores: Sequence[float | None], seconds: Sequence[float | None]) -> Curve | None:
    """Estimate the expected best score of k = 1 ... N trials (Dodge et al. 2019).

    It is the mean maximum of k draws, with replacement, from the N scores. A trial without a score (failed, lost,
    pruned) uses up a draw and contributes nothing; the mean is over the sets of draws that contain a score. k trials
    cost k times the mean seconds of a trial; a trial of unknown duration counts as the mean of the others.

    The estimate assumes that trials are independent and identically distributed. Those of a model-based sampler (TPE,
    GP) are not: later trials are better, so the curve is too optimistic about small budgets. `running_best` returns the
    observed curve.

    Args:
        scores: one per trial, higher is better; None for a trial without a score.
        seconds: of the same trials; None if unknown.

    Returns:
        None if no trial has a score.

    Raises:
        HarnessError: lengths differ.
    """
    _check(scores, seconds)
    known = np.sort(np.array([score for score in scores if score is not None], dtype=float))
    if not len(known):
        return None
    total = len(scores)
    k = np.arange(1, total + 1)[:, None]
    failed = total - len(known)
    # P(best of k draws <= i-th smallest score); trials without a score rank below all others.
    at_most = (np.arange(failed, total + 1) / total) ** k
    share = np.diff(at_most, axis=1) / (1 - at_most[:, :1])
    mean = share @ known
    spread = np.sqrt(np.maximum(share @ known**2 - mean**2, 0.0))
    each = _mean(seconds)
    return Curve(
        trials=tuple(range(1, total + 1)),
        seconds=None if each is None else tuple((each * k[:, 0]).tolist()),
        best=tuple(mean.tolist()),
        low=tuple(np.maximum(mean - spread, known[0]).tolist()),
        high=tuple(np.minimum(mean + spread, known[-1]).tolist()),
    )


def running_best(scores: Sequence[float | None], seconds: Sequence[float | None]) -> Curve | None:
    """Return the best score so far after each trial, in trial order, starting at the first score.

    Args, Returns, Raises: as for `expected_best`.
    """
    _check(scores, seconds)
    each = _mean(seconds)
    spent = 0.0
    points: list[tuple[int, float, float]] = []
    for trial, (score, duration) in enumerate(zip(scores, seconds, strict=True), start=1):
        spent += (each or 0.0) if duration is None else duration
        best = [point[2] for point in points[-1:]] + ([] if score is None else [score])
        if best:
            points.append((trial, spent, max(best)))
    if not points:
        return None
    trials, times, best_so_far = zip(*points, strict=True)
    return Curve(trials, None if each is None else times, best_so_far, best_so_far, best_so_far)


def _check(scores: Sequence[float | None], seconds: Sequence[float | None]) -> None:
    if len(scores) != len(seconds):
        raise HarnessError(
            f"Scores and seconds are of the same trials, but there are {len(scores)} and {len(seconds)}."
        )


def _mean(seconds: Sequence[float | None]) -> float | None:
    known = [duration for duration in seconds if duration is not None]
    return sum(known) / len(known) if known else None
