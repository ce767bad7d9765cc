"""A small run of tests/benchmarks/statistics, and what it must be able to find."""

import numpy as np
import pytest
from scipy import stats

from harness.statistics import compare, interval, sequential
from tests.benchmarks.population import Design, Method, draw

ACCURACY = 0.86


def studies(count: int, n: int, seeds: int, deviations: tuple[float, ...]) -> list[list[np.ndarray]]:
    """Studies of equal methods."""
    methods = [Method(ACCURACY, deviation, seeds) for deviation in deviations]
    return [draw(np.random.default_rng((i, n, seeds)), Design(n), methods)[0] for i in range(count)]


def holm(cells: list[np.ndarray]) -> bool:
    """Whether paired t-tests of every method against the best of the same data, Holm-corrected, find any worse."""
    means = np.stack([scores.mean(axis=0) for scores in cells])
    best = means[means.mean(axis=1).argmax()]
    p = np.sort([stats.ttest_rel(best, each).pvalue for each in means if each is not best])
    return bool(p[0] < 0.05 / len(p))  # any rejection begins with the smallest


def called(cells: list[np.ndarray]) -> bool:
    """Whether our comparison calls any method better or worse."""
    return any(verdict.word in ("better", "worse") for verdict in compare(cells, margin=0.01).verdicts)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_naive_tests_against_the_selected_best_err_and_ours_do_not() -> None:
    """Ten equal deterministic methods: Holm's tests find a difference in far more than 5 % of studies."""
    drawn = studies(300, 500, 2, (0.0,) * 10)
    assert np.mean([holm(cells) for cells in drawn]) > 0.1
    assert np.mean([called(cells) for cells in drawn]) < 0.08


def test_tests_that_forget_the_seeds_err_and_ours_do_not() -> None:
    drawn = studies(100, 500, 3, (0.013,) * 5)
    assert np.mean([holm(cells) for cells in drawn]) > 0.2
    assert np.mean([called(cells) for cells in drawn]) < 0.1


def test_intervals_cover() -> None:
    """At the settings' corner in which seeds count most, and one that forgets them covers far less."""
    drawn = [cells[0] for cells in studies(500, 500, 3, (0.013,))]
    found = [interval(scores) for scores in drawn]
    assert 0.92 < np.mean([each.low <= ACCURACY <= each.high for each in found]) < 0.98
    half = 1.96 * np.array([scores.mean(axis=0).std(ddof=1) / np.sqrt(500) for scores in drawn])
    assert np.mean(np.abs([each.mean - ACCURACY for each in found]) < half) < 0.92


def test_adding_seeds_until_it_differs_errs_and_planned_looks_do_not() -> None:
    """Optional stopping at 5 % a look finds differences between equals that alpha spent over looks does not."""
    plan = tuple(range(3, 15))
    drawn = studies(150, 500, plan[-1], (0.03, 0.03))
    naive = [any(called([scores[:seeds] for scores in cells]) for seeds in plan) for cells in drawn]
    planned = [
        any(verdict.word in ("better", "worse") for verdict in sequential(cells, plan, margin=0.01).verdicts)
        for cells in drawn
    ]
    assert np.mean(naive) > 0.1
    assert np.mean(planned) < 0.08


def test_one_wild_cell_with_few_seeds_among_many_does_not_err() -> None:
    """Two seeds that happen to agree are no proof of a steady method, however steady the others are."""
    methods = [Method(ACCURACY, 0.02, 2), *[Method(ACCURACY, 0.003, 10)] * 4]
    drawn = [draw(np.random.default_rng((i, 1)), Design(1500), methods)[0] for i in range(300)]
    assert np.mean([called(cells) for cells in drawn]) < 0.08


def test_population_is_as_asked() -> None:
    """Accuracy and its deviation between seeds on many examples, whatever the effects' distribution."""
    methods = [
        Method(ACCURACY, 0.013, 50),
        Method(ACCURACY, 0.013, 50, collapse=(0.1, 0.1)),
        Method(ACCURACY, 0.003, 2, tuning=0.012, draw=0.005),
    ]
    cells, labels = draw(np.random.default_rng(0), Design(8000, cluster=2, classes=4, replicates=30), methods)
    assert [len(scores) for scores in cells] == [1500, 1500, 60] == [len(each) for each in labels]
    for scores, deviation in zip(cells, (0.0133, 0.0327, 0.0134), strict=True):
        assert scores.mean() == pytest.approx(ACCURACY, abs=0.012)
        assert scores.mean(axis=1).std(ddof=1) == pytest.approx(deviation, rel=0.25)
    assert (cells[0][:, ::2].mean(axis=0) - cells[0][:, 1::2].mean(axis=0)).std() < 0.03  # pairs of equal difficulty
