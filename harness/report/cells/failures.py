"""Runs that failed or collapsed: they are results, so verdicts, sentences and columns count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.api.family import family_of, part
from harness.api.metric import Undefined
from harness.report.cells.cell_summary import CellSummary, place_of
from harness.report.reading.predictions import Predictions

Scores = npt.NDArray[np.float64]
Place = tuple[int, int]  # of a run in its cell: replicate and seed


@dataclass(frozen=True)
class Failures:
    """The confirmations of a cell that have ended, and which of them failed.

    Attributes:
        ended: number of confirmations that ended.
        crashed: of these, runs that failed or were lost: they have no score.
        collapsed: of these, runs whose score is not above that of the baseline, which knows only how frequent the
            classes are (Mosbach et al. 2021); None if the metric has no such baseline, or without predictions.
    """

    ended: int
    crashed: int
    collapsed: int | None

    @property
    def number(self) -> int:
        """Number of runs that failed or collapsed."""
        return self.crashed + (self.collapsed or 0)

    @property
    def rate(self) -> float | None:
        """Share of the confirmations that failed or collapsed; None if none has ended."""
        return self.number / self.ended if self.ended else None


def baseline(known: Predictions, metric: str, minimize: bool) -> Scores | None:
    """Return the baseline's scores (n,) on the test rows, oriented like those of the cell; None if there are none."""
    find = part(family_of(known.family).report).baseline
    if find is None:
        return None
    try:
        scores: Scores = find(known.labels, metric)
    except (KeyError, Undefined):
        return None
    return -scores if minimize else scores


def failures(row: CellSummary, known: Predictions | None) -> Failures:
    """Count a cell's confirmations that failed or collapsed.

    Args:
        row: the cell.
        known: its predictions; None if they cannot be read.
    """
    collapsed = None
    if known is not None and (reference := baseline(known, row.cell.metric, row.minimize)) is not None:
        collapsed = int((known.scores.mean(axis=1) <= reference.mean() + 1e-12).sum())
    return Failures(len(row.seeds) + len(row.crashed), len(row.crashed), collapsed)


def counted(row: CellSummary, known: Predictions, failed_as: str) -> tuple[Scores, list[int]]:
    """Return scores with those that stand for the runs of a cell that crashed; see `with_failures`.

    Args:
        row: the cell.
        known: the predictions of its runs that ended well.
        failed_as: see `Settings.failed_as`.

    Returns:
        Scores (S, n) by replicate and seed, and the replicate (S,) of each run.
    """
    places = [place_of(record) for record in row.evaluated]
    crashed = [place_of(record) for record in row.crashed]
    scores, places = with_failures(known, places, crashed, row.cell.metric, row.minimize, failed_as)
    return scores, [replicate for replicate, _ in places]


def with_failures(
    known: Predictions, places: Sequence[Place], crashed: Sequence[Place], metric: str, minimize: bool, failed_as: str
) -> tuple[Scores, list[Place]]:
    """Return scores with those that stand for runs that crashed; reports and adaptive replication judge by them.

    Args:
        known: the predictions of the runs that ended well.
        places: replicate and seed of each of them.
        crashed: replicate and seed of each run that crashed.
        metric, minimize: of the scores.
        failed_as: see `Settings.failed_as`. A metric without a baseline falls back from `majority` to `worst`.

    Returns:
        Scores (S, n) by replicate and seed, and the place of each row.
    """
    if failed_as == "excluded" or not crashed:
        return known.scores, list(places)
    worst: Scores = known.scores[known.scores.mean(axis=1).argmin()]
    reference = baseline(known, metric, minimize) if failed_as == "majority" else None
    standing = worst if reference is None or reference.mean() > worst.mean() else reference
    every = np.vstack([known.scores, *([standing[None]] * len(crashed))])
    found = [*places, *crashed]
    order = sorted(range(len(found)), key=lambda index: found[index])
    return np.asarray(every[order]), [found[index] for index in order]
