"""What more seeds or rows would settle."""

import numpy as np
import pytest

from harness.statistics import compare, needed


def noisy(mean: float, deviation: float, seeds: int, rng: np.random.Generator, n: int = 400) -> np.ndarray:
    """Scores whose only variance is that of the seeds, but for a trace."""
    return mean + deviation * rng.normal(size=(seeds, 1)) + 1e-7 * rng.normal(size=(seeds, n))


def rows(gap: float, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Two deterministic cells that differ on rows only."""
    one = rng.normal(size=n) * 0.2
    return [np.tile(one, (3, 1)), np.tile(one + gap + 0.2 * rng.normal(size=n), (3, 1))]


def test_what_is_reached_needs_no_more() -> None:
    rng = np.random.default_rng(0)
    found = needed([noisy(mean, 0.001, 5, rng) for mean in (0.9, 0.8)], 0.01)
    assert [(each.seeds, each.rows) for each in found] == [(1, 1)] * 2


def test_where_seeds_vary_seeds_help_and_rows_do_not() -> None:
    rng = np.random.default_rng(1)
    found = needed([noisy(mean, 0.03, 4, rng) for mean in (0.9, 0.88)], 0.001)
    assert found[0].seeds is not None and found[0].seeds > 1
    assert found[0].rows is None


def test_where_rows_vary_no_number_of_seeds_helps() -> None:
    found = needed(rows(0.01, 300, np.random.default_rng(2)), 0.001)
    assert found[0].seeds is None
    assert found[0].rows is not None and found[0].rows > 1


def test_the_rows_that_are_asked_for_settle_it_in_four_studies_of_five() -> None:
    """With as many rows, at the gap that was estimated."""
    rng = np.random.default_rng(3)
    first = rows(0.02, 300, rng)
    times = needed(first, 0.0001)[0].rows
    assert times is not None
    gap = first[1].mean() - first[0].mean()
    again = [compare(rows(gap, int(300 * times), rng), 0.0001).verdicts[0].word == "worse" for _ in range(200)]
    assert np.mean(again) == pytest.approx(0.8, abs=0.12)
