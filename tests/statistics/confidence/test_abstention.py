"""The threshold keeps its promise on new rows; the risk-coverage curve by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from harness.statistics.confidence.abstention import (
    area_under_risk,
    highest_precision,
    lower_bound,
    risk_coverage,
    threshold,
)


@pytest.mark.parametrize("skill", [1.0, 4.0])
def test_precision_is_reached(skill: float) -> None:
    """In at least 95 % of samples the true precision above the threshold is as wanted; it is not needlessly high."""
    source, missed, coverages = np.random.default_rng(1), 0, []
    for _ in range(400):
        sure = source.random(600)
        right = source.random(600) < sure ** (1 / skill)  # P(right | s), so the true precision above t has a formula
        found = threshold(sure, right, 0.8)
        if found is None:
            coverages.append(0.0)
            continue
        power = 1 / skill + 1
        true = (1 - found.confidence**power) / power / (1 - found.confidence)
        missed += true < 0.8
        coverages.append(found.coverage)
        assert found.bound >= 0.8
        assert found.coverage == pytest.approx((sure >= found.confidence).mean())
        assert found.precision == pytest.approx(right[sure >= found.confidence].mean())
    assert missed <= 400 * 0.05
    assert np.mean(coverages) > (0.1 if skill == 1.0 else 0.8)


def test_what_cannot_be_shown() -> None:
    """Few rows, or a model that is never right, have no threshold; equal confidences are answered together."""
    few = np.linspace(0.5, 1, 10)
    assert threshold(few, np.ones(10, dtype=bool), 0.95) is None
    assert threshold(np.zeros(0), np.zeros(0, dtype=bool), 0.5) is None
    assert threshold(few, np.zeros(10, dtype=bool), 0.01) is None
    assert highest_precision(few, np.zeros(10, dtype=bool)) == 0
    assert 0.4 < highest_precision(few, np.ones(10, dtype=bool)) < 0.9
    same = threshold(np.full(200, 0.7), np.ones(200, dtype=bool), 0.95)
    assert same is not None
    assert (same.coverage, same.confidence) == (1.0, 0.7)


def test_bound_is_clopper_and_pearsons() -> None:
    expected = binomtest(45, 50, alternative="greater").proportion_ci(0.99, "exact").low
    assert lower_bound(45, 50, 0.01) == pytest.approx(expected)
    assert lower_bound(0, 50, 0.01) == 0


def test_risk_coverage_by_hand() -> None:
    """Four rows, two of equal confidence."""
    coverages, risks = risk_coverage(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, False, True, False]))
    np.testing.assert_allclose(coverages, [0.25, 0.75, 1.0])
    np.testing.assert_allclose(risks, [0, 1 / 3, 0.5])
    assert area_under_risk(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, False, True, False])) == pytest.approx(
        0.5 / 3 + 0.25 / 2
    )
