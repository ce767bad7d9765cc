"""The replay of recorded curves, on curves made up here."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.benchmarks import asha
from tests.benchmarks.asha import EPOCHS, TRIALS, Curve, Wall, arrivals, replay, same_configurations
from tests.benchmarks.harness_vs_stock import Measurement


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


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_defaults_keep_the_score_on_curves_that_were_recorded(workers: int) -> None:
    """Within half a point of the best of all, in every order, for a third of the steps at most."""
    curves = asha.recorded()
    full, best = sum(curve.steps * len(curve.val) for curve in curves), max(max(curve.val) for curve in curves)
    assert len(curves) == TRIALS
    for order in range(5):
        found = replay(arrivals(curves, order), workers)
        assert found.score >= best - asha.MARGIN
        assert found.steps <= full / 3


def test_one_always_comes_to_its_end() -> None:
    """Also of fewer than the rule promotes one of."""
    assert replay(made_up(0.01)[:2], workers=2).ended == 1


@pytest.mark.parametrize(
    ("accuracy", "same", "expected"),
    [(0.80, True, True), (0.796, True, True), (0.79, True, False), (0.9, False, False)],
)
def test_the_clock_compares_searches_of_the_same_configurations(
    accuracy: float, same: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that found as good a score among other ones proves nothing."""
    monkeypatch.setattr(asha, "missing", lambda: None)
    wall = Wall()
    wall._stock = Measurement(1.0, {"accuracy": 0.80})
    wall._ours = Measurement(1.0, {"accuracy": accuracy, "same_configurations": same})
    assert wall.parity()["ok"] is expected


def test_without_recorded_curves_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other benchmarks go on, and the result says what to do."""
    monkeypatch.setattr(asha, "CURVES", tmp_path / "curves.json")
    for benchmark in (asha.Steps(), Wall()):
        found = benchmark.parity()
        assert not found["ok"] and "asha record" in found["why"]


def test_configurations_are_the_same_in_any_order() -> None:
    """Each as often, to the last digit."""
    one, other = {"train.lr": 1e-3, "method.config.r": 8}, {"train.lr": 0.00026532021995923517}
    assert same_configurations([one, other], [other, dict(reversed(one.items()))])
    assert not same_configurations([one, other], [one, one])
    assert not same_configurations([other], [{"train.lr": 0.00026532021995923512}])
    assert not same_configurations([one], [one, other])
