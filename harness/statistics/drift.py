"""Which cells of a study that was run again moved more than chance allows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.statistics.comparison import compare
from harness.statistics.intervals import Scope, interval
from harness.statistics.variance_components import Scores


@dataclass(frozen=True)
class Change:
    """A cell, then and now.

    Attributes:
        cell: its name.
        before, after: mean scores.
        low, high: limits of after minus before, simultaneous over all cells (Bonferroni).
        p: of no change, adjusted for all cells (Holm 1979).
        moved: whether the cell moved more than chance allows.
        paired: whether both met the same test rows.
        scope: "models" where one of the two has a single seed: the change is then of these trained models.
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
) -> list[Change]:
    """Test every cell that both studies have.

    The standard error counts seeds and examples, as in `compare`; on the same test rows the examples are paired, else
    both samples count. The runs are taken as independent, so that the same seeds in both make the test cautious, not
    wrong. Any of the verdicts `moved` is false with a chance of at most alpha.

    Args:
        before, after: scores (S, n) by cell, more being better; S and, unless paired, n may differ.
        alpha: family-wise error rate.
        paired: cells whose examples are the same in both, in the same order.
        spans: the largest change that there can be, by cell (`Scale.span`): no limit lies beyond.

    Returns:
        A change a cell, the surest first.

    Raises:
        HarnessError: a paired cell whose numbers of examples differ, or what `components` refuses.
    """
    from scipy import stats

    cells = [cell for cell in before if cell in after]
    tests = [_test(cell, before[cell], after[cell], cell in paired) for cell in cells]
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


def _test(cell: str, before: Scores, after: Scores, paired: bool) -> tuple[float, float, float, float]:
    """Give difference, standard error, degrees of freedom and unadjusted two-sided p."""
    from scipy import stats

    if paired:
        if before.shape[1] != after.shape[1]:
            raise HarnessError(
                f"{cell} is to be paired, but has {before.shape[1]} and {after.shape[1]} examples. Leave it unpaired."
            )
        found = compare([after, before], margin=0.0).differences[0][1]
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
    """Adjust p values step-down (Holm 1979)."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted
