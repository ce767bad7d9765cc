"""What to choose today, whatever the verdicts."""

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.statistics import choose, compare
from tests.benchmarks.population import Design, Method, draw


def study(key: int, accuracies: list[float], n: int = 800) -> list[np.ndarray]:
    return draw(np.random.default_rng(key), Design(n), [Method(each) for each in accuracies])[0]


def test_a_clear_best_is_chosen_surely_and_the_same_each_time() -> None:
    cells = study(0, [0.8, 0.9, 0.7])
    found = choose(cells, 0.01)
    assert found.cell == 1 and found.tied == (1,)
    assert found.best[1] > 0.99 and sum(found.best) == pytest.approx(1)
    assert found.regret[1] < 0.001
    assert found.regret[0] == pytest.approx(cells[1].mean() - cells[0].mean(), abs=0.01)
    assert found == choose(cells, 0.01)


def test_there_is_a_choice_where_no_verdict_is_reached() -> None:
    cells = study(1, [0.86] * 6, n=300)
    assert {each.word for each in compare(cells, 0.01).verdicts} == {"unresolved"}
    found = choose(cells, 0.01)
    assert 0 < found.regret[found.cell] < 0.02
    assert found.within[found.cell] > 0.5


def test_probabilities_and_regrets_are_true_on_average() -> None:
    """Ten methods whose accuracies scatter by 1 point: the leader's luck is not taken for merit."""
    rng = np.random.default_rng(2)
    within, truly, regret, lost = [], [], [], []
    for key in range(80):
        accuracies = 0.86 + 0.01 * rng.normal(size=10)
        found = choose(study(key, accuracies.tolist(), 500), 0.01)
        behind = accuracies.max() - accuracies[found.cell]
        within.append(found.within[found.cell])
        truly.append(behind < 0.01)
        regret.append(found.regret[found.cell])
        lost.append(behind)
    assert np.mean(within) == pytest.approx(np.mean(truly), abs=0.12)
    assert np.mean(regret) == pytest.approx(np.mean(lost), abs=0.003)


def test_ties_go_to_the_cheapest_whose_cost_is_known() -> None:
    cells = study(3, [0.86, 0.7])
    cells = [cells[0], cells[0].copy(), cells[0].copy(), cells[1]]
    costs = [3.0, 2.0, None, 1.0]
    found = choose(cells, 0.01, costs)
    assert (found.cell, found.tied) == (1, (0, 1, 2))
    assert choose(cells, 0.01, costs, tie=1.0).cell == 3


def test_that_few_rows_agree_is_no_certainty() -> None:
    found = choose([np.ones((3, 50))] * 3, 0.01)
    assert 0.001 < min(found.regret) < 0.02
    assert max(found.within) < 0.9


def test_one_cell_is_the_choice() -> None:
    assert choose([np.eye(2)], 0.01).cell == 0


def test_costs_that_do_not_fit_raise() -> None:
    with pytest.raises(HarnessError, match="2 cells and 1 costs"):
        choose([np.eye(3)] * 2, 0.01, [1.0])
    with pytest.raises(HarnessError, match="0 or more of each other, not -1"):
        choose([np.eye(3)] * 2, 0.01, tie=-1)
