"""Moderated variances."""

import numpy as np

from harness.statistics.variance_shrinkage import moderate


def test_variances_are_drawn_towards_their_mean() -> None:
    """The mean counts 2 degrees of freedom, as much as three seeds of one's own."""
    variance, df = moderate(np.array([1.0, 3.0, 8.0]), np.full(3, 2.0), 6.0)
    np.testing.assert_allclose(variance, [(2 * 4 + 2 * own) / 4 for own in (1, 3, 8)])
    np.testing.assert_allclose(df, 4)


def test_many_seeds_stand_for_themselves() -> None:
    raw = np.array([1e-6, 1.0])
    variance, df = moderate(raw, np.full(2, 1e9), 2e9)
    np.testing.assert_allclose(variance, raw, atol=1e-8)
    assert (df > 1e9).all()


def test_no_more_is_known_than_the_pool_knows() -> None:
    _, df = moderate(np.array([1.0, 2.0]), np.full(2, 1.0), 2.0)
    np.testing.assert_allclose(df, 2)


def test_one_alone_is_left_as_it_is() -> None:
    variance, df = moderate(np.array([2.0]), np.array([3.0]), 3.0)
    assert (variance[0], df[0]) == (2.0, 3.0)
