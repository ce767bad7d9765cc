"""Practical differences against baycomp 1.0.3, and probabilities of improvement against rliable's definition."""

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.statistics.across_datasets import practical_differences, probability_of_improvement

ONE = np.array([0.9, 0.8, 0.7, 0.85, 0.6, 0.9])
OTHER = ONE - np.array([0.02, 0.01, -0.005, 0.03, 0.015, 0.0])


@pytest.mark.parametrize(
    # baycomp.SignedRankTest.probs(ONE, OTHER, rope, nsamples=50000), average of four seeds
    ("rope", "expected"),
    [(0.0113, (0.445, 0.555, 0.000)), (0.0021, (0.974, 0.010, 0.016))],
)
def test_probabilities_are_those_of_baycomp(rope: float, expected: tuple[float, float, float]) -> None:
    found = practical_differences(np.stack([ONE, OTHER], axis=1), rope)
    pair, back = found[0][1], found[1][0]
    assert pair is not None and back is not None and found[0][0] is None
    assert (pair.better, pair.equivalent, pair.worse) == pytest.approx(expected, abs=0.015)
    assert (back.worse, back.equivalent, back.better) == (pair.better, pair.equivalent, pair.worse)


def test_cells_that_hardly_differ_are_equivalent_and_a_wide_gap_is_better() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.6, 0.9, 12)
    table = np.stack([base, base + 0.002 * rng.normal(size=12), base + 0.05], axis=1)
    found = practical_differences(table, 0.01)
    assert found[0][1] is not None and found[0][1].equivalent > 0.99
    assert found[2][0] is not None and found[2][0].better > 0.99


def test_probability_of_improvement_is_the_mean_of_mann_whitney() -> None:
    a, b = [[0.8, 0.9, 0.7], [0.5, 0.6]], [[0.75, 0.7], [0.4, 0.55, 0.6]]
    expected = np.mean([np.mean([(x > y) + (x == y) / 2 for x in m for y in o]) for m, o in zip(a, b, strict=True)])
    found = probability_of_improvement(a, b)
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high
    assert probability_of_improvement(b, a).value == pytest.approx(1 - expected)


def test_what_cannot_be_compared_raises() -> None:
    with pytest.raises(HarnessError, match="at least 2 data sets"):
        practical_differences([[0.1, 0.2]], 0.01)
    with pytest.raises(HarnessError, match="mean on every data set"):
        practical_differences([[0.1, np.nan], [0.1, 0.2]], 0.01)
    with pytest.raises(HarnessError, match="not -1"):
        practical_differences([[0.1, 0.2], [0.1, 0.2]], -1)
    with pytest.raises(HarnessError, match="on 1 and 0 of 1"):
        probability_of_improvement([[0.1]], [[]])
