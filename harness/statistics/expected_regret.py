"""Which cell to choose today, whatever the verdicts: probabilities, expected regret, and the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError
from harness.statistics.comparison import analyzed
from harness.statistics.variance.components import Scores
from harness.statistics.variance.pairwise_errors import pairs
from harness.statistics.variance.posterior import posterior_means
from harness.statistics.variance.row_clusters import Groups

DRAWS = 20_000
TIE = 0.1  # of the margin


@dataclass(frozen=True)
class Choice:
    """What to choose among K cells, and what it may cost.

    Attributes:
        cell: index of the choice.
        best: (K,) probability that each cell is the best; they sum to 1.
        within: (K,) probability that each is less than the margin below the best.
        regret: (K,) expected distance below the best, in the unit of the scores.
        tied: indices of the cells whose regret is within the tolerance of the least, the choice among them.
    """

    cell: int
    best: tuple[float, ...]
    within: tuple[float, ...]
    regret: tuple[float, ...]
    tied: tuple[int, ...]


def choose(
    cells: Sequence[Scores],
    margin: float,
    costs: Sequence[float | None] | None = None,
    tie: float | None = None,
    replicates: Sequence[Sequence[int]] | None = None,
    paired: bool = False,
    groups: Groups | None = None,
) -> Choice:
    """Choose the cell with the least expected regret; among ties the cheapest.

    The cells' true means are drawn 20,000 times from their posterior distribution (`posterior_means`). A cell's regret
    in a draw is the largest mean minus its own. The same scores give the same result.

    Args:
        cells, margin, replicates, paired, groups: see `compare`.
        costs: (K,) the cost of each, in any unit; None: unknown, dearer than any other.
        tie: regrets that differ by at most this are ties; a tenth of the margin if None.

    Raises:
        HarnessError: another number of costs than cells, a negative tie, or what `compare` refuses.
    """
    if costs is not None and len(costs) != len(cells):
        raise HarnessError(f"Each cell has one cost; here are {len(cells)} cells and {len(costs)} costs.")
    if tie is not None and tie < 0:
        raise HarnessError(f"Ties are regrets within 0 or more of each other, not {tie}.")
    if len(cells) == 1:
        return Choice(0, (1.0,), (1.0,), (0.0,), (0,))
    found, paired = analyzed(cells, replicates, paired, groups)
    means = posterior_means(pairs(found, paired), DRAWS)
    behind = means.max(axis=1, keepdims=True) - means
    regret = behind.mean(axis=0)
    best = np.bincount(behind.argmin(axis=1), minlength=len(cells)) / DRAWS
    near = np.flatnonzero(regret <= regret.min() + (TIE * margin if tie is None else tie))
    known = [None] * len(cells) if costs is None else costs
    prices = [math.inf if known[int(k)] is None else known[int(k)] for k in near]
    cell = min(zip(prices, regret[near], near, strict=True))[2]
    return Choice(
        cell=int(cell),
        best=tuple(best.tolist()),
        within=tuple((behind < margin).mean(axis=0).tolist()),
        regret=tuple(regret.tolist()),
        tied=tuple(near.tolist()),
    )
