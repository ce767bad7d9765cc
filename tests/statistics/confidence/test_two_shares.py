"""Two shares, looked at as answers come in: the right verdict, at the promised error rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import confint_proportions_2indep

from harness.statistics.confidence.two_shares import LOOKS, difference_interval, looks


@pytest.mark.parametrize(("one", "other", "verdict"), [(0.8, 0.9, "better"), (0.8, 0.7, "worse")])
def test_right_verdict(one: float, other: float, verdict: str) -> None:
    """In 95 % of 200 replays at least."""
    source = np.random.default_rng(0)
    right = 0
    for _ in range(200):
        found = looks((source.random(3200) < one).tolist(), (source.random(3200) < other).tolist())
        right += found[-1].verdict == verdict
    assert right >= 190


@pytest.mark.parametrize("share", [0.8, 0.97])
def test_equal_models(share: float) -> None:
    """At most 5 % of replays end with a verdict, up to what 300 replays tell."""
    source = np.random.default_rng(1)
    wrong = sum(
        looks((source.random(3200) < share).tolist(), (source.random(3200) < share).tolist())[-1].verdict
        != "unresolved"
        for _ in range(300)
    )
    assert binomtest(wrong, 300, 0.05, alternative="greater").pvalue > 0.05


def test_only_planned_looks_count() -> None:
    """More answers change nothing before the next look; nothing is said before the first; a verdict stays."""
    one, other = [False, True] * 100, [True] * 200
    assert looks(one[:49], other) == []
    first = looks(one[:50], other)
    assert [look.rows for look in first] == [50] == [look.rows for look in looks(one[:99], other)]
    assert looks(one, other)[-1].verdict == "better"
    assert looks([*one, *[True] * 4000], [*other, *[False] * 4000])[-1] == looks(one, other)[-1]
    assert LOOKS[-1] == 3200


def test_interval_is_newcombes() -> None:
    """As statsmodels computes it, also for shares of 0 and 1."""
    for hits, other, rows in ((0, 10, 10), (40, 45, 50), (7, 7, 30)):
        expected = confint_proportions_2indep(other, rows, hits, rows, method="newcomb", compare="diff")
        assert difference_interval(hits, other, rows, 0.95) == pytest.approx(expected, abs=1e-9)
