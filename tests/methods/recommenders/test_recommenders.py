"""Recommenders: closed forms against their definitions, and a transformer that sees no later item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods.recommenders.counts import MOST_ITEMS
from harness.models.histories import NoBackbone
from harness.models.pretrained import PretrainedModel
from harness.models.recommenders.history_network import HistoryNetwork
from harness.models.recommenders.scorers import SelfAttentiveScorer, scorer_of
from tests.helpers.small_dataset import ROOT

ITEMS = 12


def method(name: str, **changes: Any) -> Any:
    settings = yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text(encoding="utf-8"))["method"]
    return build(settings | changes)


def histories() -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    draw = np.random.default_rng(0)
    return [draw.permutation(ITEMS)[: draw.integers(2, 8)].astype(np.int64) for _ in range(40)]


def held() -> np.ndarray[Any, np.dtype[np.float64]]:
    made = np.zeros((40, ITEMS))
    for row, each in enumerate(histories()):
        made[row, each] = 1
    return made


def scores(scorer: torch.nn.Module, items: list[int], padding: int = 0) -> torch.Tensor:
    row = torch.tensor([[0] * padding + items])
    return scorer.eval()(row, torch.tensor([[False] * padding + [True] * len(items)]))[0]


def test_popularity_and_neighbors_are_counts() -> None:
    """Padding counts for nothing, and a window leaves the earlier items out."""
    matrix = held()
    popular = method("popularity").fit(histories(), ITEMS)
    assert torch.allclose(scores(popular, [3]), torch.tensor(matrix.mean(0), dtype=torch.float32))
    cosine = matrix.T @ matrix / np.sqrt(np.outer(matrix.sum(0), matrix.sum(0)))
    np.fill_diagonal(cosine, 0)
    every = method("item_knn", k=ITEMS, window=0).fit(histories(), ITEMS)
    for padding in (0, 3):
        found = scores(every, [3, 5, 1], padding).detach().numpy()
        np.testing.assert_allclose(found, cosine[[3, 5, 1]].sum(0), atol=1e-5)
    last = method("item_knn", k=ITEMS, window=2).fit(histories(), ITEMS)
    assert torch.allclose(scores(last, [3, 5, 1], 2), scores(every, [5, 1]))
    few = method("item_knn", k=3, window=0).fit(histories(), ITEMS)
    assert int((few.weight > 0).sum(1).max()) == 3


def test_ease_is_ridge_regression_from_all_other_items() -> None:
    """Each column is the solution of a regression that leaves the item itself out (Steck 2019, eq. 8)."""
    matrix = held()
    weight = method("ease", penalty=5.0).fit(histories(), ITEMS).weight.detach().numpy()
    assert np.abs(np.diag(weight)).max() == 0
    for item in (0, 7):
        others = [each for each in range(ITEMS) if each != item]
        features, target = matrix[:, others], matrix[:, item]
        expected = np.linalg.solve(features.T @ features + 5.0 * np.eye(ITEMS - 1), features.T @ target)
        np.testing.assert_allclose(weight[others, item], expected, atol=1e-5)


def test_too_many_items_are_refused_before_memory_is_taken() -> None:
    for name in ("ease", "item_knn"):
        with pytest.raises(HarnessError, match="takes at most 20,000"):
            method(name).fit(histories(), MOST_ITEMS + 1)


def test_sasrec_sees_no_later_item_and_learns_an_order() -> None:
    """Outputs in training are those of each beginning of a history; a chain of items is learned."""
    network = HistoryNetwork(NoBackbone(), ITEMS)
    torch.manual_seed(0)
    made = method("sasrec", width=16, dropout=0.0, length=6)
    made.adapt(network, PretrainedModel(name="none", path="none"), 10)
    scorer = network.head
    assert isinstance(scorer, SelfAttentiveScorer)
    row, mask = torch.tensor([[0, 4, 2, 9, 1]]), torch.tensor([[False, True, True, True, True]])
    assert scorer.train()(row, mask).shape == (3, ITEMS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    chain = torch.stack([torch.arange(start, start + 5) % ITEMS for start in range(ITEMS)])
    for _ in range(60):
        outputs = network({"input_ids": chain, "attention_mask": torch.ones_like(chain)})
        functional.cross_entropy(outputs, chain[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    # What follows an item does not depend on what comes after it, nor on padding, nor on items beyond the length.
    with torch.no_grad():
        assert int(scores(scorer, [3, 4, 5]).argmax()) == 6
        long = scores(scorer, [9, 8, *range(6)])
        assert torch.allclose(long, scores(scorer, list(range(6)), 2), atol=1e-5)
        again = scorer_of(scorer.settings)
        again.load_state_dict(scorer.state_dict())
        assert torch.allclose(scores(again, [1, 2]), scores(scorer, [1, 2]))
    with pytest.raises(HarnessError, match=r"multiple of method\.heads"):
        method("sasrec", heads=3)
