"""The replay of recorded curves, on curves made up here."""

from __future__ import annotations

import random

import pytest

from tests.benchmarks.asha import EPOCHS, TRIALS, Curve, arrivals, replay


def made_up(noise: float) -> list[Curve]:
    """Curves that rise to levels of their own."""
    draw = random.Random(0)
    levels = [draw.uniform(0.5, 0.9) for _ in range(TRIALS)]
    return [
        Curve({}, tuple(level * (1 - 0.5 ** (epoch + 1)) + draw.gauss(0, noise) for epoch in range(EPOCHS)), 25)
        for level in levels
    ]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_replay_finds_the_best_of_curves_that_keep_their_order_for_a_third_of_the_steps(workers: int) -> None:
    """Whatever the order of arrival; every configuration has trained at least to the first rung."""
    curves = made_up(noise=0.0)
    full, best = TRIALS * EPOCHS * 25, max(max(curve.val) for curve in curves)
    found = [replay(arrivals(curves, order), workers) for order in range(5)]
    assert all(each.score == best for each in found)
    assert all(TRIALS * 25 < each.steps < full / 2 for each in found)
    assert sum(each.steps for each in found) / 5 <= full / 3
    assert found == [replay(arrivals(curves, order), workers) for order in range(5)]


def test_one_always_comes_to_its_end() -> None:
    """Also of fewer than the rule promotes one of."""
    assert replay(made_up(0.01)[:2], workers=2).ended == 1
