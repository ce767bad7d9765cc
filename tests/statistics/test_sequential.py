"""Adaptive replication, replayed over scores."""

import time

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.statistics import sequential

PLAN = (3, 6, 10)


def cell(mean: float, deviation: float, seeds: int, key: int, n: int = 300) -> np.ndarray:
    """Scores whose first seeds do not depend on how many there are."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng((key, seed))
        rows.append(mean + deviation * rng.normal() + 1e-4 * rng.normal(size=n))
    return np.stack(rows)


def test_clear_cells_are_resolved_at_the_first_look() -> None:
    found = sequential([cell(0.9, 0.001, 3, 1), cell(0.8, 0.001, 3, 2)], PLAN, margin=0.01)
    assert found.state == "resolved"
    assert [v.word for v in found.verdicts] == ["better", "worse"]
    assert (len(found.looks), found.wanted) == (1, (3, 3))
    assert found.looks[0].alpha < 0.05


def test_only_contenders_get_more_seeds() -> None:
    """Two noisy leaders go on; what is clearly worse, and what is deterministic, does not."""
    fixed = np.full((3, 300), 0.5)
    cells = [cell(0.90, 0.01, 3, 1), cell(0.90, 0.01, 3, 2), cell(0.6, 0.01, 3, 3), fixed]
    found = sequential(cells, PLAN, margin=0.01)
    assert found.state == "more"
    assert found.wanted == (6, 6, 3, 3)
    assert [v.word for v in found.verdicts] == ["unresolved", "unresolved", "worse", "worse"]


def test_contender_that_is_deterministic_gets_no_more() -> None:
    found = sequential([cell(0.90, 0.01, 3, 1), np.full((3, 300), 0.9)], PLAN, margin=0.01)
    assert found.wanted == (6, 3)


def test_deterministic_cells_need_no_first_look_of_many_seeds() -> None:
    """Two identical seeds stand for any number."""
    found = sequential([cell(0.90, 0.001, 3, 1), np.full((2, 300), 0.8)], PLAN, margin=0.01)
    assert found.state == "resolved"


def test_replay_over_more_seeds_repeats_the_decisions() -> None:
    """What was decided with the seeds of the time is decided again when there are more, and costs the same seeds."""
    keys, means = (1, 2, 3), (0.90, 0.895, 0.8)
    live = [cell(mean, 0.005, 3, key) for mean, key in zip(means, keys, strict=True)]
    found = sequential(live, PLAN, margin=0.01)
    while found.state == "more":
        live = [cell(mean, 0.005, want, key) for mean, key, want in zip(means, keys, found.wanted, strict=True)]
        found = sequential(live, PLAN, margin=0.01)
    replay = sequential([cell(m, 0.005, 10, k) for m, k in zip(means, keys, strict=True)], PLAN, margin=0.01)
    assert replay.looks == found.looks
    assert replay.verdicts == found.verdicts
    assert replay.looks[-1].seeds == tuple(len(scores) for scores in live)


def test_a_verdict_that_was_reached_stands() -> None:
    """Later seeds that speak against it change nothing of it."""
    turned = cell(0.9, 0.0005, 10, 1)
    turned[3:] -= 0.5
    rest = [cell(0.88, 0.02, 10, 2), cell(0.6, 0.001, 10, 3)]
    found = sequential([turned, *rest], PLAN, margin=0.01)
    assert found.looks[0].comparison.verdicts[2].word == "worse"
    assert found.verdicts[2] == found.looks[0].comparison.verdicts[2]


def test_cap_is_reached_when_no_look_is_left() -> None:
    cells = [cell(0.9, 0.05, 12, 1), cell(0.9, 0.05, 12, 2)]
    found = sequential(cells, PLAN, margin=0.001)
    assert found.state == "cap"
    assert [look.seeds for look in found.looks] == [(3, 3), (6, 6), (10, 10)]
    assert sum(look.alpha for look in found.looks) == pytest.approx(0.05)


def test_seeds_that_would_settle_nothing_are_not_run() -> None:
    """Where the rows leave a verdict open, the looks end early; where they do not, as planned."""
    rng = np.random.default_rng(7)
    shared = rng.random(400) < 0.8
    few, many = [], []
    for key in range(3):
        own = shared ^ (rng.random((12, 400)) < 0.1)
        few.append(own + 0.01 * np.random.default_rng(key).normal(size=(12, 1)))
        many.append(cell(0.9, 0.02, 12, key))
    stopped = sequential(few, PLAN, margin=0.001)
    assert stopped.state == "futile" and len(stopped.looks) < len(PLAN)
    assert {each.word for each in stopped.verdicts} == {"unresolved"}
    assert sequential(many, PLAN, margin=0.001).state != "futile"


def test_deterministic_cells_that_cannot_be_told_apart_are_at_the_cap() -> None:
    rng = np.random.default_rng(0)
    cells = [np.tile(rng.normal(size=50), (3, 1)) for _ in range(2)]
    found = sequential(cells, PLAN, margin=0.01)
    assert (found.state, len(found.looks)) == ("cap", 1)


def test_before_the_first_look_nothing_is_resolved() -> None:
    found = sequential([cell(0.9, 0.001, 2, 1), cell(0.8, 0.001, 3, 2)], PLAN, margin=0.01)
    assert (found.state, found.looks, found.wanted) == ("more", (), (3, 3))
    assert {v.word for v in found.verdicts} == {"unresolved"}


def test_one_cell_has_nothing_to_resolve() -> None:
    found = sequential([cell(0.9, 0.01, 1, 1)], PLAN, margin=0.01)
    assert (found.state, found.looks, found.wanted) == ("resolved", (), (1,))


def test_twenty_cells_of_a_full_study_take_less_than_a_second_of_computing() -> None:
    rng = np.random.default_rng(0)
    cells = [(rng.random((15, 3080)) < 0.86).astype(np.float64) for _ in range(20)]
    sequential(cells[:2], (3, 15), margin=0.01)  # imports
    started = time.process_time()
    sequential(cells, (3, 6, 10, 15), margin=0.001)
    assert time.process_time() - started < 1


def test_plan_must_rise() -> None:
    with pytest.raises(HarnessError, match="rising"):
        sequential([np.ones((3, 4))], (3, 3), margin=0.01)


def test_a_cell_that_gets_no_more_seeds_takes_part_with_what_it_has() -> None:
    """One cell whose runs failed does not take the verdicts of all others away."""
    rng = np.random.default_rng(5)
    cells = [np.clip(mean + 0.003 * rng.standard_normal((3, 1)) + np.zeros((3, 2000)), 0, 1) for mean in (0.9, 0.8)]
    short = cells[1][:2]
    waiting = sequential([cells[0], short], [3, 5], 0.01)
    assert waiting.state == "more" and waiting.looks == ()
    found = sequential([cells[0], short], [3, 5], 0.01, capped=[False, True])
    assert [verdict.word for verdict in found.verdicts] == ["better", "worse"] and found.looks[0].seeds == (3, 2)


def test_a_study_that_has_ended_is_replayed_over_all_its_looks() -> None:
    """No more seeds will come, and those that are there are used look by look."""
    rng = np.random.default_rng(6)
    cells = [np.clip(0.85 + 0.01 * rng.standard_normal((5, 1)) + np.zeros((5, 500)), 0, 1) for _ in range(3)]
    found = sequential(cells, [3, 5], 0.0001, capped=[True] * 3)
    assert [look.seeds for look in found.looks] == [(3, 3, 3), (5, 5, 5)] and found.state == "cap"
