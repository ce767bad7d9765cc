"""Find the cells of a repeated study whose scores changed by more than chance allows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.statistics.comparison import compare
from harness.statistics.intervals import Scope, interval
from harness.statistics.variance.components import Scores
from harness.statistics.variance.row_clusters import Groups


@dataclass(frozen=True)
class Change:
    """Scores of a cell before and after.

    Attributes:
        cell: its name.
        before, after: mean scores.
        low, high: limits of after minus before, simultaneous over all cells (Bonferroni).
        p: p value of no change, adjusted for all cells (Holm 1979).
        moved: whether the change is significant.
        paired: whether both used the same test rows.
        scope: "models" if one of the two has a single seed: the change then concerns these trained models.
    """

    cell: str
    before: float
    after: float
    low: float
    high: float
    p: float
    moved: bool
    paired: bool
    scope: Scope

    @property
    def difference(self) -> float:
        """After minus before; positive is better."""
        return self.after - self.before


def drift(
    before: Mapping[str, Scores],
    after: Mapping[str, Scores],
    alpha: float = 0.05,
    paired: Collection[str] = (),
    spans: Mapping[str, float] | None = None,
    groups: Mapping[str, Groups] | None = None,
) -> list[Change]:
    """Test every cell that both studies have.

    The standard error includes seeds and examples, as in `compare`. On the same test rows the examples are paired;
    otherwise both samples contribute. The runs are taken as independent, so using the same seeds in both makes the test
    conservative, not wrong. The probability that any `moved` is false is at most alpha.

    Args:
        before, after: scores (S, n) by cell, higher is better; S and, unless paired, n may differ.
        alpha: family-wise error rate.
        paired: cells whose examples are the same in both, in the same order.
        spans: the largest possible change by cell (`Scale.span`); limits are clipped to it.
        groups: (n,) the cluster of each example of paired cells whose examples belong together.

    Returns:
        One change per cell, the most significant first.

    Raises:
        HarnessError: a paired cell with different numbers of examples, or what `components` refuses.
    """
    from scipy import stats

    cells = [cell for cell in before if cell in after]
    tests = [_test(cell, before[cell], after[cell], cell in paired, (groups or {}).get(cell)) for cell in cells]
    adjusted = _holm([p for *_, p in tests])
    changes = []
    for cell, (mean, error, df, _), p in zip(cells, tests, adjusted, strict=True):
        half = float(stats.t.isf(alpha / len(cells) / 2, df)) * error
        then, now = float(before[cell].mean()), float(after[cell].mean())
        span = (spans or {}).get(cell, math.inf)
        low, high = max(mean - half, -span), min(mean + half, span)
        single = min(len(before[cell]), len(after[cell])) == 1
        changes.append(
            Change(
                cell, then, now, low, high, p, p <= alpha, cell in paired, "models" if single else "seeds",
            )
        )  # fmt: skip
    return sorted(changes, key=lambda change: (change.p, -abs(change.difference), change.cell))


def _test(
    cell: str, before: Scores, after: Scores, paired: bool, groups: Groups | None
) -> tuple[float, float, float, float]:
    """Return difference, standard error, degrees of freedom and unadjusted two-sided p value."""
    from scipy import stats

    if paired:
        if before.shape[1] != after.shape[1]:
            raise HarnessError(
                f"{cell} is to be paired, but has {before.shape[1]} and {after.shape[1]} examples. Leave it unpaired."
            )
        found = compare([after, before], margin=0.0, groups=groups).differences[0][1]
        assert found is not None  # off the diagonal
        mean, error, df = found.mean, found.error, found.df
    else:
        one, other = interval(after), interval(before)
        mean = one.mean - other.mean
        error = math.hypot(one.error, other.error)
        squares = one.error**4 / one.df + other.error**4 / other.df
        df = error**4 / squares if squares else one.df  # Welch 1938
    if error == 0:
        return mean, error, df, 1.0 if mean == 0 else 0.0
    return mean, error, df, float(2 * stats.t.sf(abs(mean) / error, df))


def _holm(values: Sequence[float]) -> list[float]:
    """Adjust p values by the step-down method (Holm 1979)."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted
