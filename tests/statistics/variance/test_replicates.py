"""Tuning runs and draws of training rows as replicates, with seeds nested in them."""

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.statistics import compare, interval, sequential

LABELS = [0, 0, 0, 1, 1, 2, 2, 2]  # three replicates, one of them with two seeds


def cell(
    rng: np.random.Generator, mean: float = 0.8, between: float = 0.02, draws: np.ndarray | None = None, n: int = 300
) -> np.ndarray:
    """Scores of runs with `LABELS`: a deviation between replicates, one between seeds, and a little noise."""
    effects = between * rng.normal(size=3) + (0 if draws is None else draws)
    seeds = 0.005 * rng.normal(size=len(LABELS))
    return mean + (effects[LABELS] + seeds)[:, None] + 0.05 * rng.normal(size=(len(LABELS), n))


def test_one_replicate_is_no_replicate() -> None:
    rng = np.random.default_rng(0)
    cells = [cell(rng), cell(rng, 0.81)]
    alike = [[7] * len(LABELS)] * 2
    assert interval(cells[0], replicates=alike[0]) == interval(cells[0])
    for paired in (False, True):
        assert compare(cells, 0.01, replicates=alike, paired=paired) == compare(cells, 0.01)
    plan = (3, 5, 8)
    assert sequential(cells, plan, 0.001, replicates=alike) == sequential(cells, plan, 0.001)


def test_replicates_are_the_sample() -> None:
    """The interval is that of the replicates' means, each of which counts once."""
    scores = cell(np.random.default_rng(7))
    means = np.stack([scores[np.array(LABELS) == label].mean(axis=0) for label in range(3)])
    found, plain = interval(scores, replicates=LABELS), interval(means)
    assert (found.mean, found.low, found.high) == pytest.approx((plain.mean, plain.low, plain.high))
    assert (found.replicates, found.seeds, plain.replicates) == (3, 8, 1)
    assert found.seed_std == pytest.approx(0.005, rel=0.6)  # within replicates, where all runs together have 0.02
    assert found.replicate_std is not None and found.replicate_std > 0.008


def test_equal_methods_are_told_apart_without_the_replicates_only() -> None:
    """Tuning luck makes two equal methods differ; with unequal numbers of seeds, too."""
    rng = np.random.default_rng(2)
    wrong = {True: 0, False: 0}
    for _ in range(200):
        cells = [cell(rng), cell(rng)]
        for labels in (None, [LABELS] * 2):
            verdicts = compare(cells, 0.001, replicates=labels).verdicts
            wrong[labels is None] += any(each.word in ("better", "worse") for each in verdicts)
    assert wrong[False] / 200 < 0.09
    assert wrong[True] / 200 > 0.25


def test_what_a_draw_does_to_all_cells_cancels() -> None:
    rng = np.random.default_rng(3)
    draws = 0.1 * rng.normal(size=3)
    cells = [cell(rng, mean, 0.001, draws) for mean in (0.8, 0.75)]
    labels = [LABELS] * 2
    assert [each.word for each in compare(cells, 0.01, replicates=labels).verdicts] == ["unresolved"] * 2
    assert [each.word for each in compare(cells, 0.01, replicates=labels, paired=True).verdicts] == ["better", "worse"]
    assert interval(cells[0], replicates=LABELS).error > 0.03  # of a mean, the draws are part


def test_draws_that_a_cell_lacks_are_left_out() -> None:
    rng = np.random.default_rng(4)
    cells = [cell(rng), cell(rng)]
    part = np.array(LABELS) < 2
    found = compare([cells[0], cells[1][part]], 0.01, replicates=[LABELS, LABELS[:5]], paired=True)
    assert found == compare([each[part] for each in cells], 0.01, replicates=[LABELS[:5]] * 2, paired=True)
    assert found.replicates == (2, 2)
    with pytest.raises(HarnessError, match=r"one in common; theirs are 0, 1, 2; 3"):
        compare([cells[0], cells[1][:2]], 0.01, replicates=[LABELS, [3, 3]], paired=True)


def test_tunings_that_found_the_same_share_its_runs() -> None:
    """Runs that two replicates have in common are no new runs."""
    rng = np.random.default_rng(5)
    runs = [0.8 + 0.01 * rng.normal(size=(3, 1)) + 0.05 * rng.normal(size=(3, 200)) for _ in range(2)]
    twice = [np.concatenate([each, each]) for each in runs]
    labels = [[0] * 3 + [1] * 3] * 2
    assert compare(twice, 0.01, replicates=labels) == compare(runs, 0.01)
    both = np.concatenate([runs[0], runs[0], runs[1]])  # two of three tunings found the same
    found = interval(both, replicates=[0] * 3 + [1] * 3 + [2] * 3)
    apart = 0.8 + 0.01 * rng.normal(size=(9, 1)) + 0.05 * rng.normal(size=(9, 200))
    assert found.seeds == 6
    assert interval(apart, replicates=[0] * 3 + [1] * 3 + [2] * 3).seeds == 9


def test_looks_add_seeds_to_each_replicate() -> None:
    rng = np.random.default_rng(6)
    cells = [cell(rng), cell(rng)]
    found = sequential(cells, (2, 4), 0.03, replicates=[LABELS] * 2)
    assert (found.state, found.wanted, found.looks[0].seeds) == ("more", (4, 4), (2, 2))
    assert found.looks[0].comparison.replicates == (3, 3)
    ended = sequential(cells, (2, 4), 0.03, capped=[True] * 2, replicates=[LABELS] * 2)
    assert ended.looks[1].seeds == (3, 3)  # with the two of the replicate that has no more


def test_labels_that_do_not_fit_raise() -> None:
    cells = [np.eye(3), np.eye(3)]
    with pytest.raises(HarnessError, match="3 runs and 2 labels"):
        interval(cells[0], replicates=[0, 1])
    with pytest.raises(HarnessError, match="2 cells and 1 lists"):
        compare(cells, 0.01, replicates=[[0, 1, 2]])
