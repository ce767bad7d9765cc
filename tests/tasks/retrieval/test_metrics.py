"""Metrics of retrieval: by hand, and with ties against the mean over all orders of tied passages."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from harness.api.metric import Predictions, Targets, evaluate, is_finite, row_scores
from harness.tasks.retrieval.metrics import METRICS, TOP, first_ranks
from harness.tasks.retrieval.runtime import RetrievalRuntime


def runtime(passages: int, relevant: int = 3) -> RetrievalRuntime:
    texts = tuple(f"passage {number}" for number in range(passages))
    return RetrievalRuntime(texts, (), np.zeros(passages, dtype=np.int64), most_relevant=relevant)


def targets_of(*rows: dict[int, float]) -> Targets:
    found = np.empty(len(rows), dtype=object)
    for place, row in enumerate(rows):
        found[place] = tuple(sorted(row.items(), key=lambda pair: -pair[1]))
    return found


def ranked(scores: list[list[float]], targets: Targets) -> Predictions:
    made = runtime(len(scores[0]))
    return made._ranked(np.array(scores, dtype=np.float32), targets)


def of_order(order: tuple[int, ...], relevant: dict[int, float]) -> dict[str, float]:
    """The metrics of a ranking without ties, from their definitions."""
    ranks = {place: order.index(place) + 1 for place in relevant}
    gain = sum(relevant[place] / math.log2(1 + rank) for place, rank in ranks.items() if rank <= TOP)
    best = sum(gain / math.log2(2 + n) for n, gain in enumerate(sorted(relevant.values(), reverse=True)[:TOP]))
    first = min(ranks.values())
    return {
        "ndcg_at_10": gain / best,
        "mrr_at_10": 1 / first if first <= TOP else 0.0,
        "recall_at_1": float(first == 1),
        "recall_at_10": sum(rank <= TOP for rank in ranks.values()) / min(len(ranks), TOP),
        "loss": float(np.mean([math.log(rank) for rank in ranks.values()])),
    }


def test_values_by_hand() -> None:
    """A relevant passage at rank 2, and one beyond the first ten."""
    scores = [[0.1 * (20 - place) for place in range(20)]] * 2
    targets = targets_of({1: 1.0}, {14: 1.0})
    found = row_scores(METRICS, targets, ranked(scores, targets))
    assert found["ndcg_at_10"] == pytest.approx([1 / math.log2(3), 0])
    assert found["mrr_at_10"] == pytest.approx([0.5, 0])
    assert found["recall_at_1"].tolist() == [0, 0] and found["recall_at_10"].tolist() == [1, 0]
    assert found["loss"] == pytest.approx([math.log(2), math.log(15)])


@pytest.mark.parametrize("seed", range(6))
def test_ties_give_the_mean_over_all_orders(seed: int) -> None:
    """Seven passages of which many have equal scores, several relevant ones with unequal gains."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 3, 7).astype(float).tolist()
    places = draw.choice(7, draw.integers(1, 4), replace=False).tolist()
    relevant = {place: float(gain) for place, gain in zip(places, draw.integers(1, 4, len(places)), strict=True)}
    orders = [
        order
        for order in itertools.permutations(range(7))
        if all(scores[one] >= scores[two] for one, two in itertools.pairwise(order))
    ]
    expected = [of_order(order, relevant) for order in orders]
    targets = targets_of(relevant)
    found = evaluate(METRICS, targets, ranked([scores], targets))
    for name in METRICS:
        assert found[name] == pytest.approx(np.mean([each[name] for each in expected]), abs=1e-12), name


def test_a_tie_across_the_tenth_place_counts_in_part() -> None:
    """BM25 gives 0 to all passages without a word of the query: none of them is found by being the first in a file."""
    targets = targets_of({0: 1.0})
    found = row_scores(METRICS, targets, ranked([[0.0] * 40], targets))
    assert found["recall_at_10"] == pytest.approx([10 / 40]) and found["recall_at_1"] == pytest.approx([1 / 40])
    assert found["mrr_at_10"] == pytest.approx([sum(1 / place for place in range(1, 11)) / 40])
    assert first_ranks(targets, ranked([[0.0] * 40], targets)).tolist() == [20.5]


def test_scores_of_rows_have_the_metric_as_their_mean() -> None:
    """On random scores, for each metric."""
    draw = np.random.default_rng(3)
    scores = draw.normal(size=(30, 25)).tolist()
    targets = targets_of(*({int(place): 1.0 for place in draw.choice(25, 2, replace=False)} for _ in range(30)))
    found = ranked(scores, targets)
    values, rows = evaluate(METRICS, targets, found), row_scores(METRICS, targets, found)
    assert all(values[name] == pytest.approx(rows[name].mean(), abs=1e-12) for name in METRICS)
    assert all((rows[name] >= 0).all() for name in METRICS)


def test_scores_that_are_not_finite_have_no_metrics() -> None:
    """One row of many is enough: training that diverged is told, not ranked."""
    targets = targets_of({0: 1.0}, {1: 1.0})
    found = ranked([[0.1] * 12, [float("nan")] * 12], targets)
    assert not is_finite(found) and evaluate(METRICS, targets, found)["loss"] is None


def test_predictions_survive_a_checkpoint() -> None:
    """Packed and unpacked, with fewer passages than are listed."""
    targets = targets_of({0: 1.0, 3: 2.0}, {1: 1.0})
    made = runtime(4)
    found = made._ranked(np.array([[0.5, 0.25, 0.25, 0.5], [0.1, 0.2, 0.3, 0.4]]), targets)
    again = made.unpacked(made.packed(found))
    assert all((again[name] == found[name]).all() for name in found.dtype.names or ())
