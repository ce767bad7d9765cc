"""The metrics of retrieval. Imports no torch.

A metric is a function of targets (n,), the `Relevant` of each query, and predictions (n,), records of `record_type`.
Where passages have equal scores, it is the expectation over their orders, each as probable (McSherry and Najork 2008,
Computing information retrieval performance measures efficiently in the presence of tied scores).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import Direction, Metric, Predictions, RowScores, Targets

TOP = 10  # passages that are found for a query, and counted by metrics at 10
Counts = npt.NDArray[np.int64]


def record_type(relevant: int) -> np.dtype[Any]:
    """Return the type of a prediction.

    Its fields: `top` (TOP,), the passages with the highest scores, and `scores` (TOP,), theirs; of each relevant
    passage, in the order of the target, `above`, how many have a higher score, and `tied`, how many others the same.

    Args:
        relevant: R, the most relevant passages of a query.
    """
    places = (max(relevant, 1),)
    return np.dtype(
        [("top", np.int32, (TOP,)), ("scores", np.float32, (TOP,)), ("above", np.int32, places),
         ("tied", np.int32, places)]
    )  # fmt: skip


def _of_rows(
    targets: Targets, predictions: Predictions, score: Callable[[npt.NDArray[np.float64], Counts, Counts], float]
) -> RowScores:
    """Apply a function of gains, `above` and `tied` (m,) to each row."""
    found = np.zeros(len(targets), dtype=np.float64)
    for row, relevant in enumerate(targets):
        gains = np.array([gain for _, gain in relevant], dtype=np.float64)
        above, tied = (predictions[field][row, : len(gains)].astype(np.int64) for field in ("above", "tied"))
        found[row] = score(gains, above, tied)
    return found


def ndcg_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Normalized discounted cumulative gain at 10 of each row, gains as given (Järvelin and Kekäläinen 2002)."""
    discounts = 1 / np.log2(2 + np.arange(TOP))
    sums = np.concatenate([[0.0], np.cumsum(discounts)])

    def score(gains: npt.NDArray[np.float64], above: Counts, tied: Counts) -> float:
        expected = (sums[np.minimum(above + 1 + tied, TOP)] - sums[np.minimum(above, TOP)]) / (tied + 1)
        best = np.sort(gains)[::-1][:TOP]
        return float((gains * expected).sum() / (best * discounts[: len(best)]).sum())

    return _of_rows(targets, predictions, score)


def recall_rows(targets: Targets, predictions: Predictions, k: int) -> RowScores:
    """Share of each row's relevant passages among the first k, of at most k; with one of them the hit rate."""

    def score(gains: npt.NDArray[np.float64], above: Counts, tied: Counts) -> float:
        return float((np.clip(k - above, 0, tied + 1) / (tied + 1)).sum() / min(len(above), k))

    return _of_rows(targets, predictions, score)


def mrr_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Reciprocal rank of each row's first relevant passage; 0 if it is not among the first 10."""

    def score(gains: npt.NDArray[np.float64], above: Counts, tied: Counts) -> float:
        best = int(np.argmin(above))
        start, size = int(above[best]), int(tied[best]) + 1
        own = int((above == start).sum())  # relevant ones among those that are tied for the first place
        ways = math.comb(size, own)
        places = range(1, min(size - own + 1, TOP - start) + 1)
        return sum(math.comb(size - place, own - 1) / ways / (start + place) for place in places)

    return _of_rows(targets, predictions, score)


def loss_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Mean natural logarithm of the ranks of each row's relevant passages."""
    from scipy.special import gammaln  # not at the top: every command reads the names of all metrics

    def score(gains: npt.NDArray[np.float64], above: Counts, tied: Counts) -> float:
        return float(((gammaln(above + tied + 2) - gammaln(above + 1)) / (tied + 1)).mean())

    return _of_rows(targets, predictions, score)


def first_ranks(targets: Targets, predictions: Predictions) -> RowScores:
    """Return the rank of each row's first relevant passage, from 1; the mean rank of those that are tied."""
    return _of_rows(targets, predictions, lambda gains, above, tied: float((1 + above + tied / 2).min()))


def _mean(rows: Callable[[Targets, Predictions], RowScores]) -> Callable[[Targets, Predictions], float]:
    return lambda targets, predictions: float(rows(targets, predictions).mean())


_MAX, _MIN = Direction.MAXIMIZE, Direction.MINIMIZE
_AT = {k: partial(recall_rows, k=k) for k in (1, TOP)}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("ndcg_at_10", "ndcg@10", _mean(ndcg_rows), ndcg_rows, _MAX, "{:.2%}", 0.0, 1.0),
        Metric("mrr_at_10", "mrr@10", _mean(mrr_rows), mrr_rows, _MAX, "{:.2%}", 0.0, 1.0),
        Metric("recall_at_1", "recall@1", _mean(_AT[1]), _AT[1], _MAX, "{:.2%}", 0.0, 1.0),
        Metric("recall_at_10", "recall@10", _mean(_AT[TOP]), _AT[TOP], _MAX, "{:.2%}", 0.0, 1.0),
        # The mean log rank breaks ties; it counts every place, not only the first ten.
        Metric("loss", "log rank", _mean(loss_rows), loss_rows, _MIN, "{:.3f}", 0.0),
    )
}
