"""Metrics of a whole corpus from sufficient statistics of its rows, and what each row adds to them. Imports no torch.

BLEU, chrF, TER, the loss of a token and others are functions of sums over rows. So the metric of any resample of rows
follows from their statistics, and a row's score is the metric + the row's centered influence on it (infinitesimal
jackknife, Efron 1982): the mean of the scores is the metric, their variance gives its sampling variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.api.metric import Predictions, RowScores, Targets, Undefined

Statistics = npt.NDArray[np.float64]  # (n, m), or (m,) summed
STEP = 1e-5  # of differences, as a share of a sum


@dataclass(frozen=True)
class CorpusMetric:
    """A metric that is a function of sums over rows.

    Attributes:
        statistics: (targets, predictions) -> (n, m), none negative; raises `Undefined` where there are none.
        of_sums: sums (m,) over rows -> value. Rows counted twice change nothing.
    """

    statistics: Callable[[Targets, Predictions], Statistics]
    of_sums: Callable[[Statistics], float]

    def value(self, targets: Targets, predictions: Predictions) -> float:
        """Return the metric of all rows."""
        return self.of_sums(self.statistics(targets, predictions).sum(0))

    def per_row(self, targets: Targets, predictions: Predictions) -> RowScores:
        """Return the metric + the influence of each row on it: (n,)."""
        found = self.statistics(targets, predictions)
        sums = found.sum(0)
        influence = (found - sums / len(found)) @ self._gradient(sums) * len(found)
        scores: RowScores = self.of_sums(sums) + influence - influence.mean()
        return scores

    def _gradient(self, sums: Statistics) -> Statistics:
        """Return derivatives by the sums (m,): central differences. A sum of 0 is 0 in every row, so it has none."""
        gradient = np.zeros_like(sums)
        for place in np.flatnonzero(sums):
            step = np.zeros_like(sums)
            step[place] = STEP * sums[place]
            gradient[place] = (self.of_sums(sums + step) - self.of_sums(sums - step)) / (2 * step[place])
        return gradient


def mean_of(rows: Callable[[Targets, Predictions], RowScores]) -> CorpusMetric:
    """Return the metric that is the mean of the scores of rows."""
    return _Mean(
        lambda targets, predictions: _counted(rows(targets, predictions)), lambda sums: float(sums[0] / sums[1])
    )


class _Mean(CorpusMetric):
    def per_row(self, targets: Targets, predictions: Predictions) -> RowScores:
        """Return the scores themselves."""
        scores: RowScores = self.statistics(targets, predictions)[:, 0]
        return scores


def _counted(scores: RowScores) -> Statistics:
    return np.stack([scores, np.ones_like(scores)], axis=1)


def texts(predictions: Predictions) -> tuple[str, ...]:
    """Return what a model wrote, the field `text` of records.

    Raises:
        Undefined: it wrote nothing for some rows, as for validation rows where the loss selects.
    """
    found = tuple(predictions["text"])
    if any(text is None for text in found):
        raise Undefined("no texts were written for these rows.")
    return found
