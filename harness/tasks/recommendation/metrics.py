"""The metrics of recommendation. Imports no torch.

A metric is a function of targets (n,), tuples of item indices, and predictions (n,), records of `record_type`. A target
that ties with other items has the mean of the ranks that their order at random would give it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import ClassSizes, Direction, Metric, Predictions, RowScores, Targets
from harness.tasks.ranking import NONE, places

TOP = 10  # items that are recommended, and counted by metrics at 10
SEEN = np.finfo(np.float32).min  # score of an item of the history, which is not recommended again


def record_type(items: int) -> np.dtype[Any]:
    """Return the type of a prediction.

    Its fields: `scores` (I,) of all items; `top` (TOP,), the items with the highest scores; `novelty`, the mean of
    these items' self-information in bits.

    Args:
        items: I.
    """
    return np.dtype([("scores", np.float32, (items,)), ("top", np.int32, (TOP,)), ("novelty", np.float64)])


def ranks(targets: Targets, predictions: Predictions) -> list[npt.NDArray[np.float64]]:
    """Return the rank of each target among the items outside the history, from 1, for each row."""
    found = []
    for wanted, scores in zip(targets, predictions["scores"], strict=True):
        above, tied = places(scores, wanted)
        # Other targets do not stand in each other's way: the best one of several is counted from its own place.
        found.append(1.0 + above + tied / 2)
    return found


def _gains(
    rows: Targets, predictions: Predictions, score: Callable[[npt.NDArray[np.float64], int], float]
) -> RowScores:
    return np.array([score(np.sort(each), len(each)) for each in ranks(rows, predictions)], dtype=np.float64)


def ndcg_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Normalized discounted cumulative gain at 10 of each row (Järvelin and Kekäläinen 2002), gains of 1."""

    def score(placed: npt.NDArray[np.float64], number: int) -> float:
        gain = (1 / np.log2(1 + placed[placed <= TOP])).sum()
        return float(gain / (1 / np.log2(2 + np.arange(min(number, TOP)))).sum())

    return _gains(targets, predictions, score)


def recall_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Share of each row's targets among the first 10, of at most 10; with one target the hit rate."""
    return _gains(targets, predictions, lambda placed, number: float((placed <= TOP).sum() / min(number, TOP)))


def mrr_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Reciprocal rank of each row's first target, in the full ranking."""
    return _gains(targets, predictions, lambda placed, number: float(1 / placed[0]))


def loss_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Mean natural logarithm of the ranks of each row's targets."""
    return _gains(targets, predictions, lambda placed, number: float(np.log(placed).mean()))


def novelty_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Mean of -log2 of the share of training users, over each row's recommended items (Zhou et al. 2010)."""
    return np.asarray(predictions["novelty"], dtype=np.float64)


def coverage(targets: Targets, predictions: Predictions) -> float:
    """Share of all items that are recommended to some row (Herlocker et al. 2004)."""
    top = np.unique(predictions["top"])
    return float((top != NONE).sum() / predictions["scores"].shape[1])


def coverage_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Coverage + what each row alone adds to it, centered; it has no interval (`no_interval`)."""
    items, counts = np.unique(predictions["top"], return_counts=True)
    alone = items[(counts == 1) & (items != NONE)]
    added = np.isin(predictions["top"], alone).sum(axis=1) / predictions["scores"].shape[1]
    scores: RowScores = coverage(targets, predictions) + added - added.mean()
    return scores


def _mean(rows: Callable[[Targets, Predictions], RowScores]) -> Callable[[Targets, Predictions], float]:
    return lambda targets, predictions: float(rows(targets, predictions).mean())


def _grows(sizes: ClassSizes) -> str:
    return "it grows with the number of test users"


_MAX, _MIN = Direction.MAXIMIZE, Direction.MINIMIZE

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("ndcg_at_10", "ndcg@10", _mean(ndcg_rows), ndcg_rows, _MAX, "{:.2%}", 0.0, 1.0),
        Metric("recall_at_10", "recall@10", _mean(recall_rows), recall_rows, _MAX, "{:.2%}", 0.0, 1.0),
        Metric("mrr", "mrr", _mean(mrr_rows), mrr_rows, _MAX, "{:.2%}", 0.0, 1.0),
        Metric("coverage_at_10", "coverage@10", coverage, coverage_rows, _MAX, "{:.1%}", 0.0, 1.0, no_interval=_grows),
        Metric("novelty_at_10", "novelty@10", _mean(novelty_rows), novelty_rows, _MAX, "{:.2f}", 0.0),
        # The mean log rank breaks ties; it counts every place, not only the first ten.
        Metric("loss", "log rank", _mean(loss_rows), loss_rows, _MIN, "{:.3f}", 0.0),
    )
}  # fmt: skip
