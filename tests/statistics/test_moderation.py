"""Moderated variances."""

import numpy as np
import pytest

from harness.statistics.moderation import _inverse_trigamma, moderate


def test_equal_variances_are_pooled() -> None:
    """Estimates that scatter no more than chance are replaced by their mean, with all degrees of freedom."""
    variance, df = moderate(np.array([0.9, 1.0, 1.1]), np.full(3, 2.0))
    np.testing.assert_allclose(variance, 1.0)
    np.testing.assert_allclose(df, 6.0)


def test_unlike_variances_stay_apart() -> None:
    raw = np.array([1e-6, 1.0, 1e-5, 2.0, 50.0, 1e-3])
    variance, df = moderate(raw, np.full(6, 4.0))
    np.testing.assert_allclose(variance, raw, rtol=4)
    assert (np.argsort(variance) == np.argsort(raw)).all()
    assert (df < 6).all()


def test_prior_is_recovered() -> None:
    """With many cells the prior's degrees of freedom and scale are found: 8 and 2 were drawn from."""
    rng = np.random.default_rng(0)
    true = 2 * 8 / rng.chisquare(8, 20000)
    _, df = moderate(true * rng.chisquare(4, 20000) / 4, np.full(20000, 4.0))
    assert df[0] - 4 == pytest.approx(8, rel=0.05)


def test_inverse_trigamma() -> None:
    from scipy.special import polygamma

    for value in (1e-3, 0.7, 30.0):
        assert polygamma(1, _inverse_trigamma(value)) == pytest.approx(value)
