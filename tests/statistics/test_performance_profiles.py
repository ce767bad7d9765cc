"""Interquartile mean and performance profiles: against scipy, tasks counting the same, intervals over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness.statistics.performance_profiles import behind_best, interquartile_mean, performance_profile


def test_equals_scipy_where_quarters_are_whole() -> None:
    """With tasks of equal size and a number of runs that four divides, it is scipy's trimmed mean, as in rliable."""
    runs = np.random.default_rng(2).normal(size=(4, 5))
    found = interquartile_mean(runs.tolist())
    assert found.value == pytest.approx(stats.trim_mean(runs, 0.25, axis=None))
    assert found.low < found.value < found.high


def test_bootstrap_is_stratified() -> None:
    """Resampling seeds within tasks: without spread over seeds there is none in the result, however tasks differ."""
    found = interquartile_mean([[0.2] * 4, [0.9] * 4])
    assert found.low == found.value == found.high == pytest.approx(0.55)


def test_interval_covers_the_means_of_new_seeds() -> None:
    """With ten seeds a task, about 95 % of intervals hold the true value."""
    random = np.random.default_rng(0)
    hits = 0
    for repeat in range(200):
        found = interquartile_mean(random.normal([[0.0]] * 6, 1.0, (6, 10)).tolist(), resamples=400, seed=repeat)
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_every_task_counts_the_same() -> None:
    """A task with more seeds weighs no more."""
    found = performance_profile([[1.0, 1.0, 1.0, 1.0], [0.0]], [0.5])
    assert found.share.tolist() == [0.5]


def test_profile_falls_with_the_threshold() -> None:
    """From all runs to none, inside its band."""
    runs = np.random.default_rng(3).normal(size=(3, 8)).tolist()
    found = performance_profile(runs, np.linspace(-5, 5, 41).tolist())
    assert (found.share[0], found.share[-1]) == pytest.approx((1.0, 0.0))
    assert (np.diff(found.share) <= 1e-12).all()
    assert (found.low <= found.share + 1e-12).all()
    assert (found.share <= found.high + 1e-12).all()


def test_scores_are_taken_behind_the_best_of_the_task() -> None:
    """Differences to the best mean; unlike metrics and missing runs are refused."""
    found = behind_best({"a": [[0.9, 0.7], [0.5]], "b": [[0.6], [0.6]]}, ["accuracy", "accuracy"])
    assert found["a"] == [pytest.approx([0.1, -0.1]), pytest.approx([-0.1])]
    assert found["b"] == [pytest.approx([-0.2]), pytest.approx([0.0])]
    with pytest.raises(HarnessError, match="accuracy, loss"):
        behind_best({"a": [[0.9], [0.5]]}, ["accuracy", "loss"])
    with pytest.raises(HarnessError, match="1 of 2 tasks"):
        behind_best({"a": [[0.9], []]}, ["accuracy", "accuracy"])
