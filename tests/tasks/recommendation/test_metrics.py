"""Metrics of recommendation: against definitions written anew, scores of rows, and ties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import ndcg_score

from harness.models.recommenders.scorers import LinearScorer
from harness.tasks.recommendation.data import as_objects
from harness.tasks.recommendation.metrics import METRICS, NONE, SEEN, TOP, ranks
from harness.tasks.recommendation.runtime import RecommendationRuntime

ITEMS = 60


def runtime(counts: npt.NDArray[np.int64] | None = None) -> RecommendationRuntime:
    counts = np.arange(ITEMS) if counts is None else counts
    return RecommendationRuntime(tuple(map(str, range(ITEMS))), (), counts, 100)


def test_values_are_those_of_the_definitions() -> None:
    """NDCG as scikit-learn's, the others from the whole order; a row's scores average to the metric."""
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(40, ITEMS)).astype(np.float32)
    targets = as_objects([draw.permutation(ITEMS)[: draw.integers(1, 15)].tolist() for _ in range(40)])
    predictions = runtime().predictions(scores)
    relevant = np.zeros((40, ITEMS))
    for row, wanted in enumerate(targets):
        relevant[row, list(wanted)] = 1
    order = np.argsort(-scores, axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    expected = {
        "ndcg_at_10": ndcg_score(relevant, scores, k=TOP),
        "recall_at_10": np.mean(hits[:, :TOP].sum(1) / np.minimum(relevant.sum(1), TOP)),
        "mrr": np.mean(1 / (1 + hits.argmax(axis=1))),
        "coverage_at_10": len(np.unique(order[:, :TOP])) / ITEMS,
        "novelty_at_10": np.mean(-np.log2((order[:, :TOP] + 1) / 101)),
    }
    for name, value in expected.items():
        assert METRICS[name].value(targets, predictions) == pytest.approx(value, rel=1e-6), name
    for name, metric in METRICS.items():
        assert metric.per_row(targets, predictions).mean() == pytest.approx(metric.value(targets, predictions)), name
    assert METRICS["coverage_at_10"].no_interval(np.array([40])) is not None


def test_items_count_once() -> None:
    """In coverage, however many rows an item is recommended to; in a history, however often it was met."""
    scores = np.tile(np.arange(ITEMS, dtype=np.float32), (3, 1))
    made = runtime().predictions(scores)
    assert METRICS["coverage_at_10"].value(as_objects([(0,)] * 3), made) == pytest.approx(TOP / ITEMS)
    scores[2] = scores[2, ::-1]
    made = runtime().predictions(scores)
    assert METRICS["coverage_at_10"].value(as_objects([(0,)] * 3), made) == pytest.approx(2 * TOP / ITEMS)
    scorer = LinearScorer(4)
    scorer.weight.data = torch.arange(16.0).reshape(4, 4)
    once, twice = (
        scorer(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.bool)) for row in ([1, 2], [1, 2, 1])
    )
    assert torch.equal(once, twice)


def test_ties_and_items_of_the_history() -> None:
    """A target among equals has their mean rank, so that constant scores are no better than chance."""
    made = runtime().predictions(np.zeros((1, ITEMS), dtype=np.float32))
    assert ranks(as_objects([(7,)]), made)[0].tolist() == [(1 + ITEMS) / 2]
    scores = np.full((1, ITEMS), SEEN, dtype=np.float32)
    scores[0, :4] = [1, 2, 2, 0]
    made = runtime().predictions(scores)
    assert made["top"][0].tolist() == [1, 2, 0, 3, *[NONE] * 6]
    assert ranks(as_objects([(0, 1)]), made)[0].tolist() == [3, 1.5]
