"""Best of a budget: the expectation against enumeration and simulation, and what trials without a score cost."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.statistics.best_of_budget import best_by_resource, expected_best, running_best

SCORES = [0.3, 0.8, 0.5, 0.5, 0.9]


def test_expectation_equals_enumeration() -> None:
    """The mean maximum over all subsets of k trials (Tang et al. 2020)."""
    curve = expected_best(SCORES)
    assert curve is not None
    for k in (1, 2, 3, 4, 5):
        maxima = [max(drawn) for drawn in itertools.combinations(SCORES, k)]
        assert curve.best[k - 1] == pytest.approx(statistics.fmean(maxima))
    assert curve.budget == (1, 2, 3, 4, 5)


def test_the_expectation_is_unbiased() -> None:
    """The audit's case: 8 trials of a normal score; the biased form gave 1.17 for the best of all 8."""
    random = np.random.default_rng(1)
    found = [curve.best for _ in range(400) if (curve := expected_best(random.normal(size=8).tolist())) is not None]
    assert np.mean(found, axis=0)[[0, 3, 7]] == pytest.approx([0.0, 1.03, 1.42], abs=0.09)


def test_trials_that_returned_nothing_are_spent() -> None:
    """The audit's case: 6 of 8 failed. One trial returns nothing in 75 % of the cases, which is worth the floor."""
    scores = [0.85, None, None, None, 0.85, None, None, None]
    curve = expected_best(scores, floor=0.1)
    assert curve is not None
    assert curve.best[0] == pytest.approx(0.25 * 0.85 + 0.75 * 0.1)
    assert curve.best[7] == pytest.approx(0.85)
    worst = expected_best([0.6, None, 0.8])
    assert worst is not None and worst.best[0] == pytest.approx((0.6 + 0.6 + 0.8) / 3)


def test_pruned_trials_do_not_flatter_a_budget() -> None:
    """With the scores that pruned trials reached, one trial expects their mean, not that of the survivors."""
    curve = expected_best([0.83, 0.86, 0.86, 0.89])
    assert curve is not None and curve.best[0] == pytest.approx(0.86)


def test_the_band_covers_the_expectation() -> None:
    """Pointwise, for budgets that are small against the number of trials."""
    random = np.random.default_rng(2)
    truth = {1: 0.0, 2: 0.564}
    hits = dict.fromkeys(truth, 0)
    for seed in range(150):
        curve = expected_best(random.normal(size=20).tolist(), seed=seed)
        assert curve is not None
        for k, value in truth.items():
            hits[k] += curve.low[k - 1] <= value <= curve.high[k - 1]
    assert all(0.87 <= count / 150 <= 1 for count in hits.values())


def test_with_equal_amounts_the_resource_is_the_number_of_trials() -> None:
    """Spending twice a trial's seconds is two trials."""
    by_time, by_trial = best_by_resource(SCORES, [2.0] * 5), expected_best(SCORES)
    assert by_time is not None and by_trial is not None
    for k in (1, 2, 3, 4, 5):
        spent = [index for index, amount in enumerate(by_time.budget) if amount >= 2 * k]
        assert by_time.best[spent[0]] == pytest.approx(by_trial.best[k - 1], abs=0.03)
    assert by_time.budget[-1] == pytest.approx(10.0)


def test_trials_that_were_stopped_early_cost_less() -> None:
    """The same scores for a tenth of the seconds are found with a tenth of the budget."""
    full, stopped = best_by_resource(SCORES, [10.0] * 5), best_by_resource(SCORES, [1.0, 10.0, 1.0, 1.0, 10.0])
    assert full is not None and stopped is not None
    assert np.interp(20.0, stopped.budget, stopped.best) > np.interp(20.0, full.budget, full.best)


def test_running_best_follows_the_order_of_trials() -> None:
    """It starts with the first score, never falls, and failures cost their time."""
    curve = running_best([None, 0.5, 0.4, None, 0.7], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert curve is not None
    assert curve.budget == (3.0, 6.0, 10.0, 15.0)
    assert curve.best == (0.5, 0.5, 0.5, 0.7)
    by_trial = running_best([None, 0.5, 0.4])
    assert by_trial is not None and by_trial.budget == (2, 3)


def test_nothing_known_gives_nothing() -> None:
    """No score, no curve; no amount, no curve; lists of unequal length are an error."""
    assert expected_best([None, None]) is None
    assert best_by_resource([0.5], [None]) is None
    assert running_best([None], [None]) is None
    with pytest.raises(HarnessError, match="1 and 2"):
        best_by_resource([0.5], [1.0, 2.0])
