"""Moderated variances."""

import numpy as np

from harness.statistics.variance.shrinkage import moderate


def test_small_variances_are_drawn_towards_the_typical_one_and_large_ones_stand() -> None:
    """The typical one counts 2 degrees of freedom, as much as three seeds of one's own; a wild cell hardly moves it."""
    raw = np.array([1.0, 1.5, 2.0, 1000.0])
    variance, df = moderate(raw, np.full(4, 2.0), 8.0)
    common = 2 * variance[0] - 1.0
    assert 1.0 < common < 30  # the mean is 251
    np.testing.assert_allclose(variance[:3], (common + raw[:3]) / 2)
    np.testing.assert_allclose(df[:3], 4)
    assert variance[3] == 1000 and 2 < df[3] < 2.1


def test_few_seeds_among_many_get_little_of_the_prior() -> None:
    _, df = moderate(np.array([1.0, 1.0]), np.array([1.0, 9.0]), 10.0)
    np.testing.assert_allclose(df, [1 + 2 / 9, 10])


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
