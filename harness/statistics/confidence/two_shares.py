"""Which of two shares of right answers is larger, as answers of two independent groups come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics.alpha_spending import spend

LOOKS = (50, 100, 200, 400, 800, 1600, 3200)  # answers of each group


@dataclass(frozen=True)
class Look:
    """What is known at a planned number of answers.

    Attributes:
        rows: answers of each group.
        difference: share of right answers of the second group less that of the first.
        low, high: its interval, at the part of the error rate that this look has.
    """

    rows: int
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """How the second group is: better, worse or unresolved."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "unresolved"


def difference_interval(hits: int, other: int, rows: int, level: float) -> tuple[float, float]:
    """Return the interval of `other / rows` less `hits / rows`, by score intervals (Newcombe 1998, method 10).

    Args:
        hits, other: right answers of the first and of the second group.
        rows: answers of each.
        level: of the interval.
    """
    first, second = hits / rows, other / rows
    low_one, high_one = share_interval(first, rows, level)
    low_two, high_two = share_interval(second, rows, level)
    gap = second - first
    return (
        gap - math.hypot(second - low_two, high_one - first),
        gap + math.hypot(high_two - second, first - low_one),
    )


def looks(first: Sequence[bool], second: Sequence[bool], alpha: float = 0.05) -> list[Look]:
    """Return the planned looks that the answers suffice for, up to the first one with a verdict.

    All looks together call one group better although they are equal with a probability of at most alpha, whenever
    somebody asks: looks are at planned numbers of answers, of each group its first ones, and share alpha (`spend`).

    Args:
        first, second: whether the answers of either group were right, in the order in which they came.
        alpha: error rate of all looks.
    """
    found: list[Look] = []
    for rows, part in zip(LOOKS, spend(alpha, [rows / LOOKS[-1] for rows in LOOKS]), strict=True):
        if rows > min(len(first), len(second)):
            break
        hits, other = sum(first[:rows]), sum(second[:rows])
        found.append(Look(rows, (other - hits) / rows, *difference_interval(hits, other, rows, 1 - part)))
        if found[-1].verdict != "unresolved":
            break
    return found


def share_interval(share: float, rows: int, level: float) -> tuple[float, float]:
    """Return the score interval of a share of right ones among rows (Wilson 1927), at a level."""
    from scipy.stats import norm

    ratio = float(norm.ppf((1 + level) / 2)) ** 2 / rows
    middle = (share + ratio / 2) / (1 + ratio)
    half = math.sqrt(ratio * (share * (1 - share) + ratio / 4)) / (1 + ratio)
    return middle - half, middle + half
