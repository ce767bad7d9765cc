"""The area under the ROC curve, its interval by simulation, and differences of two scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from harness.statistics.confidence.auroc import difference, separation


def test_area_equals_scikit_learns() -> None:
    """Ties count half; several seeds are averaged."""
    source = np.random.default_rng(0)
    inside, outside = source.integers(2, 9, (3, 40)), source.integers(0, 7, (3, 25))
    truth = np.repeat([1, 0], [40, 25])
    expected = [roc_auc_score(truth, np.concatenate(pair)) for pair in zip(inside, outside, strict=True)]
    found = separation(inside, outside)
    np.testing.assert_allclose(found.by_seed, expected)
    assert found.area == pytest.approx(np.mean(expected))
    assert found.area == pytest.approx(found.inside.mean()) == pytest.approx(found.outside.mean())


@pytest.mark.parametrize(("gap", "seeds"), [(0.3, 1), (2.5, 1), (1.0, 3)])
def test_intervals_cover(gap: float, seeds: int) -> None:
    """Normal scores, whose area is known: about 95 % of intervals hold it, also near 1 and over seeds."""
    source, held = np.random.default_rng(2), 0
    true = norm.cdf(gap / np.sqrt(2))
    for _ in range(500):
        inside = gap + source.normal(size=(1, 60)) + 0.1 * source.normal(size=(seeds, 60))
        outside = source.normal(size=(1, 80)) + 0.1 * source.normal(size=(seeds, 80))
        found = separation(inside / np.sqrt(1.01), outside / np.sqrt(1.01))
        held += found.low <= true <= found.high
    assert 0.92 <= held / 500 <= 0.99


def test_groups_that_are_apart() -> None:
    """An area of 1 has an interval below it, not a point."""
    found = separation(np.arange(10, 20)[None], np.arange(5)[None])
    assert found.area == 1
    assert 0.9 < found.low < found.high <= 1


def test_difference_is_paired() -> None:
    """Two scores that nearly agree differ by much less than their intervals are wide."""
    source = np.random.default_rng(3)
    inside, outside = 1 + source.normal(size=(1, 200)), source.normal(size=(1, 200))
    one = separation(inside, outside)
    other = separation(inside + 0.05 * source.normal(size=(1, 200)), outside)
    gap, low, high = difference(one, other)
    assert low < gap < high
    assert high - low < (one.high - one.low) / 4
