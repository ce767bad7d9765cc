"""Best of a budget: the expectation against enumeration, and what failures cost."""

from __future__ import annotations

import itertools
import statistics

import pytest

from harness.errors import HarnessError
from harness.statistics.best_of_budget import expected_best, running_best

SCORES = [0.3, 0.8, 0.5, 0.5, 0.9]


def test_expectation_equals_enumeration() -> None:
    """Mean and deviation of the maximum over all draws with replacement."""
    curve = expected_best(SCORES, [2.0] * 5)
    assert curve is not None
    for k in (1, 2, 3, 4):
        maxima = [max(draw) for draw in itertools.product(SCORES, repeat=k)]
        mean, spread = statistics.fmean(maxima), statistics.pstdev(maxima)
        assert curve.best[k - 1] == pytest.approx(mean)
        assert curve.low[k - 1] == pytest.approx(max(mean - spread, 0.3))
        assert curve.high[k - 1] == pytest.approx(min(mean + spread, 0.9))
    assert curve.seconds == (2.0, 4.0, 6.0, 8.0, 10.0)


def test_failed_trials_are_spent() -> None:
    """Draws that fail win nothing; only draws without any score are left out."""
    curve = expected_best([0.6, None, 0.8, None], [1.0, 5.0, None, 3.0])
    assert curve is not None
    for k in (1, 2, 3):
        draws = itertools.product([0.6, None, 0.8, None], repeat=k)
        maxima = [max(known) for draw in draws if (known := [score for score in draw if score is not None])]
        assert curve.best[k - 1] == pytest.approx(statistics.fmean(maxima))
    assert curve.trials == (1, 2, 3, 4)
    assert curve.seconds == (3.0, 6.0, 9.0, 12.0)


def test_running_best_follows_the_order_of_trials() -> None:
    """It starts with the first score, never falls, and failures cost their time."""
    curve = running_best([None, 0.5, 0.4, None, 0.7], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert curve is not None
    assert curve.trials == (2, 3, 4, 5)
    assert curve.best == (0.5, 0.5, 0.5, 0.7)
    assert curve.seconds == (3.0, 6.0, 10.0, 15.0)


def test_nothing_known_gives_nothing() -> None:
    """No score, no curve; no time, no seconds; lists of unequal length are an error."""
    assert expected_best([None, None], [1.0, 1.0]) is None
    assert running_best([None], [None]) is None
    curve = expected_best([0.5], [None])
    assert curve is not None
    assert (curve.seconds, curve.best) == (None, (0.5,))
    with pytest.raises(HarnessError, match="1 and 2"):
        expected_best([0.5], [1.0, 2.0])
