"""Best of a budget: expected and observed best score of k trials, or of so much of a resource.

Tang et al. 2020, "Showing Your Work Doesn't Always Work" (ACL), section 4: the unbiased form of the expected validation
performance of Dodge et al. 2019, "Show Your Work" (EMNLP), whose estimate is too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

Array = npt.NDArray[np.floating[Any]]
RESAMPLES = 400  # bootstrap samples of the trials for a band
ORDERS = 400  # random orders of the trials in which a resource is spent
POINTS = 60  # amounts of a resource at which a curve is computed


@dataclass(frozen=True)
class Curve:
    """Best score by budget. Entry i belongs to `budget[i]`.

    Attributes:
        budget: numbers of trials, or amounts of a resource; ascending.
        best: the best score; higher is better.
        low, high: a pointwise bootstrap percentile interval of `best` over the trials; `best` itself if the curve was
            observed, not estimated.
    """

    budget: tuple[float, ...]
    best: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def expected_best(
    scores: Sequence[float | None], floor: float | None = None, confidence: float = 0.95, seed: int = 0
) -> Curve | None:
    """Estimate the expected best score of k = 1 ... N trials without bias (Tang et al. 2020, equation 4).

    It is the mean over all subsets of k of the N trials of their best score: sum over i of C(i - 1, k - 1) / C(N, k)
    times the i-th smallest score. A trial without a score uses up its place in a subset.

    The estimate assumes that trials are independent and identically distributed. Those of a model-based sampler (TPE,
    GP) are not: later trials are better, so the curve is too optimistic about small budgets. `running_best` returns the
    observed curve.

    Args:
        scores: one per trial, higher is better; None for a trial that returned nothing (failed, lost). A trial that was
            stopped early has the best score that it reached, a lower bound of what it would have reached.
        floor: what a budget is worth that returned nothing, such as the score of the most frequent class; None: the
            worst score.
        confidence: of the band; the trials are resampled with replacement.
        seed: of the resampling.

    Returns:
        None if no trial has a score.
    """
    known = _filled(scores, floor)
    if known is None:
        return None
    weights = _weights(len(known))
    random = np.random.default_rng(seed)
    samples = np.sort(random.choice(known, (RESAMPLES, len(known))), axis=1)
    low, high = _band(samples @ weights.T, confidence)
    budget = tuple(float(k) for k in range(1, len(known) + 1))
    return Curve(budget, *_tuples(weights @ np.sort(known), low, high))


def best_by_resource(
    scores: Sequence[float | None],
    amounts: Sequence[float | None],
    floor: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Curve | None:
    """Estimate the expected best score when so much of a resource (seconds, epochs) has been spent on trials.

    Trials are drawn in random order without replacement, and one counts once its whole amount is spent. So trials that
    were stopped early, and cost less, count by what they cost. The curve begins at the amount of the dearest trial.
    With trials of equal amount it is that of `expected_best`, up to the number of orders drawn.

    Args:
        scores, floor, confidence, seed: as for `expected_best`.
        amounts: of the resource, of the same trials; one of unknown amount counts as the mean of the others.

    Returns:
        None if no trial has a score, or none an amount above 0.

    Raises:
        HarnessError: lengths differ.
    """
    _check(scores, amounts)
    known, spent = _filled(scores, floor), _amounts(amounts)
    if known is None or spent is None:
        return None
    worst = min(float(known.min()), np.inf if floor is None else floor)
    # From the dearest trial on, every order has a complete trial.
    grid = np.linspace(float(spent.max()), float(spent.sum()) * (1 + 1e-9), POINTS)
    random = np.random.default_rng(seed)
    size = len(known)
    orders = np.argsort(random.random((ORDERS, size)), axis=1)
    best = _reached(known[orders], spent[orders], grid, worst).mean(axis=0)
    # Each bootstrap sample of the trials in one random order would add the orders' spread, so several are averaged.
    drawn = random.integers(0, size, (RESAMPLES // 4, 1, size))
    shuffled = np.take_along_axis(
        np.broadcast_to(drawn, (len(drawn), 24, size)),
        np.argsort(random.random((len(drawn), 24, size)), axis=2),
        axis=2,
    )
    flat = shuffled.reshape(-1, size)
    means = _reached(known[flat], spent[flat], grid, worst).reshape(len(drawn), 24, -1).mean(axis=1)
    return Curve(tuple(grid.tolist()), *_tuples(best, *_band(means, confidence)))


def running_best(scores: Sequence[float | None], amounts: Sequence[float | None] | None = None) -> Curve | None:
    """Return the best score so far after each trial, in trial order, starting at the first score.

    Args:
        scores: as for `expected_best`.
        amounts: of a resource, see `best_by_resource`; None: the budget is the number of trials.

    Returns:
        None if no trial has a score, or none an amount above 0.

    Raises:
        HarnessError: lengths differ.
    """
    spent = np.ones(len(scores)) if amounts is None else _amounts(amounts)
    if amounts is not None:
        _check(scores, amounts)
    if spent is None:
        return None
    points: list[tuple[float, float]] = []
    for total, score in zip(np.cumsum(spent).tolist(), scores, strict=True):
        best = [point[1] for point in points[-1:]] + ([] if score is None else [score])
        if best:
            points.append((total, max(best)))
    if not points:
        return None
    budget, values = zip(*points, strict=True)
    return Curve(budget, values, values, values)


def _weights(size: int) -> Array:
    """Return the weights (k, i) of the i-th smallest of `size` scores in the mean best of k."""
    from scipy.special import gammaln

    i = np.arange(1.0, size + 1)
    k = i[:, None]

    def log_binomial(n: Array, r: Array) -> Array:
        return np.asarray(gammaln(n + 1) - gammaln(r + 1) - gammaln(np.maximum(n - r, 0) + 1))

    logs = log_binomial(i - 1, k - 1) - log_binomial(np.full_like(k, size), k)
    return np.where(i >= k, np.exp(np.minimum(logs, 0.0)), 0.0)


def _reached(scores: Array, amounts: Array, grid: Array, worst: float) -> Array:
    """Return the best score (orders, points) that is complete when so much was spent, in each order of trials."""
    best, spent = np.maximum.accumulate(scores, axis=1), np.cumsum(amounts, axis=1)
    complete = np.stack([np.searchsorted(each, grid + 1e-9, side="right") for each in spent])  # (orders, points)
    padded = np.concatenate([np.full((len(best), 1), worst), best], axis=1)
    return np.take_along_axis(padded, complete, axis=1)


def _filled(scores: Sequence[float | None], floor: float | None) -> Array | None:
    """Return the scores with the floor for trials that returned nothing; None if no trial has a score."""
    known = [score for score in scores if score is not None]
    if not known:
        return None
    worst = min([*known, *([] if floor is None else [floor])])
    return np.array([worst if score is None else score for score in scores], dtype=float)


def _amounts(amounts: Sequence[float | None]) -> Array | None:
    known = [amount for amount in amounts if amount is not None]
    if not known or sum(known) <= 0:
        return None
    mean = sum(known) / len(known)
    return np.array([mean if amount is None else amount for amount in amounts], dtype=float)


def _band(samples: Array, confidence: float) -> tuple[Array, Array]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return low, high


def _tuples(*values: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(each.tolist()) for each in values)


def _check(scores: Sequence[float | None], amounts: Sequence[float | None]) -> None:
    if len(scores) != len(amounts):
        raise HarnessError(
            f"Scores and amounts are of the same trials, but there are {len(scores)} and {len(amounts)}."
        )
