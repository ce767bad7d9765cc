"""Tests of whether new rows are distributed as reference rows, valid at the small levels that many looks leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

LOWER = (0.02, 0.1, 0.3)  # shares of the reference rows below an edge: new rows may be more of them
UPPER = (0.9,)  # likewise; more new rows may be above
NUMERIC = 1e-3  # of the reference's spread: by how much equal values may differ numerically, as of two engines
UNLIKELY = 1e-3  # approximate p value of `mix_p`, below which a bound takes its place


@dataclass(frozen=True)
class Edges:
    """Values of the reference between which new ones are counted.

    Attributes:
        rows: number of reference values m.
        values: (k,) in rising order.
        orders: (k,) the rank of each among the reference values, from 1.
        upper: (k,) whether new values above an edge are tested, else those below.
    """

    rows: int
    values: npt.NDArray[np.float64]
    orders: Counts
    upper: npt.NDArray[np.bool_]

    def counts(self, values: npt.NDArray[np.floating[Any]]) -> Counts:
        """Return how many values (n,) are in each of the k + 1 bins; a bin has its lower edge."""
        places = np.searchsorted(self.values, values, side="right")
        return np.bincount(places, minlength=len(self.values) + 1).astype(np.int64)

    def beyond(self, counts: Counts) -> Counts:
        """Return of the counts of bins how many values are beyond each edge (k,), on its side."""
        below = np.cumsum(counts)[:-1]
        return np.where(self.upper, counts.sum() - below, below)

    def shares(self) -> npt.NDArray[np.float64]:
        """Return the share of reference values beyond each edge (k,)."""
        below = self.orders / (self.rows + 1)
        return np.where(self.upper, 1 - below, below)


def edges_of(reference: npt.NDArray[np.floating[Any]]) -> Edges:
    """Return edges at quantiles of reference values (m,), m > 0.

    An edge is moved outward by a thousandth of the spread, so that values that are equal but for the last digits never
    count as beyond it. This can only make `beyond_p` larger.
    """
    ordered, rows = np.sort(reference.astype(np.float64)), len(reference)
    low, high = np.quantile(ordered, [0.01, 0.99])
    margin = NUMERIC * max(float(high - low), 1e-9)
    found = []
    for share in (*LOWER, *UPPER):
        upper = share in UPPER
        order = min(max(round(share * (rows + 1)), 1), rows)
        found.append((float(ordered[order - 1]) + (margin if upper else -margin), order, upper))
    found.sort()
    values, orders, sides = zip(*found, strict=True)
    return Edges(rows, np.array(values), np.array(orders, dtype=np.int64), np.array(sides, dtype=bool))


def beyond_p(edges: Edges, counts: Counts) -> npt.NDArray[np.float64]:
    """Return for each edge (k,) the p value of as many new values beyond it as there are, or more.

    It is exact for continuous values, and not too small for values with ties: the number of new values below an order
    statistic has a negative hypergeometric distribution, whatever the values' own (precedence test, Nelson 1963).

    Args:
        edges: of the reference.
        counts: (k + 1,) of the bins.
    """
    from scipy.stats import hypergeom

    new, m = int(counts.sum()), edges.rows
    # On the upper side, ranks count from the top.
    orders = np.where(edges.upper, m + 1 - edges.orders, edges.orders)
    found = edges.beyond(counts)
    drawn = np.minimum(orders + found - 1, m + new)
    # At least `found` are beyond if, among the lowest `drawn` of all values, fewer than `orders` are of the reference.
    return np.where(found > 0, np.minimum(hypergeom.cdf(orders - 1, m + new, m, drawn), 1.0), 1.0)


def mix_p(reference: Counts, counts: Counts) -> float:
    """Return a p value of equal shares of C classes, by Pearson's statistic with all totals given.

    Rare classes make the usual approximation too small in the far tail. Below `UNLIKELY` the value is Chernoff's bound
    of the exact conditional distribution, which is never too small and about ten times too large, but at most
    `UNLIKELY`: so it never rises with the statistic.

    Args:
        reference: (C,) rows of each class in the reference.
        counts: (C,) of the new rows.
    """
    from scipy.stats import chi2

    totals = reference + counts
    kept = totals > 0
    # The statistic is the same of either sample; the smaller one has the shorter sums below.
    fewer = reference if reference.sum() < counts.sum() else counts
    totals, counts = totals[kept], fewer[kept]
    new, m = int(counts.sum()), int(totals.sum() - counts.sum())
    if new == 0 or m == 0 or len(totals) < 2:
        return 1.0
    factor = (new + m) ** 2 / (new * m) / totals  # of the squared distance from the expected count
    expected = totals * new / (new + m)
    statistic = float((factor * (counts - expected) ** 2).sum())
    df = len(totals) - 1
    approximate = float(chi2.sf(statistic, df))
    if approximate > UNLIKELY:
        return approximate
    best = max(0.0, (1 - df / statistic) / 2)  # what it would be if the statistic were a chi-squared variable
    none = _log_moment(totals, expected, factor, new, 0.0)
    bounds = [
        _log_moment(totals, expected, factor, new, best * part) - none - best * part * statistic
        for part in (0.3, 0.5, 0.7, 0.85, 1.0)
    ]
    return min(UNLIKELY, float(np.exp(min(0.0, *bounds))))


def _log_moment(totals: Counts, expected: Any, factor: Any, new: int, tilt: float) -> float:
    """Return the logarithm of E[exp(tilt * statistic); total = new], the classes' counts being independent binomials.

    The sum over all tables is a coefficient of the product of one polynomial a class.
    """
    from scipy.stats import binom

    share, product, scale = new / float(totals.sum()), np.ones(1), 0.0
    for total, mean, weight in zip(totals.tolist(), expected.tolist(), factor.tolist(), strict=True):
        values = np.arange(min(total, new) + 1)
        logs = binom.logpmf(values, total, share) + tilt * weight * (values - mean) ** 2
        top = float(logs.max())
        product = np.convolve(product, np.exp(logs - top))[: new + 1]
        peak = float(product.max())
        product, scale = product / peak, scale + top + float(np.log(peak))
    return scale + float(np.log(max(float(product[new]), 1e-300)))


def more_p(reference: int, rows: int, found: int, new: int) -> float:
    """Return the p value of a share in new rows that is larger than in the reference (Fisher's exact test, one-sided).

    Args:
        reference, rows: reference rows that count, and all.
        found, new: new rows that count, and all.
    """
    from scipy.stats import hypergeom

    return 1.0 if found == 0 else float(hypergeom.sf(found - 1, rows + new, reference + found, new))


def stability_index(reference: Counts, counts: Counts) -> tuple[float, float]:
    """Return the population stability index of two samples' bins, and its mean where both are of one distribution.

    The index is the symmetric Kullback-Leibler divergence; half a row is added to each bin, so that empty ones have a
    value. Its mean by chance is about (bins - 1) (1 / n + 1 / m): with many classes and few rows it exceeds the usual
    limits of 0.1 and 0.25.
    """
    kept = (reference + counts) > 0
    one, other = reference[kept] + 0.5, counts[kept] + 0.5
    before, after = one / one.sum(), other / other.sum()
    index = float(((after - before) * np.log(after / before)).sum())
    chance = (int(kept.sum()) - 1) * (1 / max(int(counts.sum()), 1) + 1 / max(int(reference.sum()), 1))
    return index, chance
