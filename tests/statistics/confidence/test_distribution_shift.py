"""Shift tests: never too small a p value where nothing changed, with ties and rare classes; small ones where it did."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency, fisher_exact

from harness.statistics.confidence.distribution_shift import beyond_p, edges_of, mix_p, more_p, stability_index


@pytest.mark.parametrize("values", ["continuous", "ties", "constant"])
def test_beyond_holds_its_level(values: str) -> None:
    """On every edge, without a change, whatever the distribution; also where values differ in their last digits."""
    source = np.random.default_rng(0)
    draw = {
        "continuous": lambda n: source.normal(size=n),
        "ties": lambda n: source.integers(0, 4, n) / 4,
        "constant": lambda n: np.full(n, 0.9) + source.normal(scale=1e-13, size=n),
    }[values]
    found = []
    for _ in range(400):
        edges = edges_of(draw(150))
        found.append(beyond_p(edges, edges.counts(draw(100))))
    for level in (0.1, 0.02):
        for edge in np.array(found).T:
            assert binomtest(int((edge <= level).sum()), 400, level, alternative="greater").pvalue > 0.001


def test_beyond_is_the_probability_of_ranks() -> None:
    """The exact share of all orders of new and reference values with as many new ones below, by enumeration."""
    reference = np.arange(1.0, 8.0)
    edges = edges_of(reference)
    counts = edges.counts(np.array([0.0, 0.5, 1.5]))
    p = dict(zip(edges.orders[~edges.upper].tolist(), beyond_p(edges, counts)[~edges.upper].tolist(), strict=True))
    orders = [order for order in product((0, 1), repeat=10) if sum(order) == 7]  # 1: of the reference

    def below(order: tuple[int, ...], rank: int) -> int:
        places = [place for place, of_reference in enumerate(order) if of_reference]
        return places[rank - 1] - (rank - 1)

    for rank, new in ((1, 2), (2, 3)):
        assert p[rank] == pytest.approx(np.mean([below(order, rank) >= new for order in orders]))


def test_change_is_found_on_its_side() -> None:
    """A lower tail that grows shows at the lowest edge; a rise shows above."""
    source = np.random.default_rng(1)
    edges = edges_of(source.normal(size=1000))
    mixed = np.concatenate([source.normal(size=450), source.normal(-4, 1, 50)])
    p = beyond_p(edges, edges.counts(mixed))
    assert p.argmin() == 0 and p[0] < 1e-8 and not edges.upper[0]
    shares = edges.beyond(edges.counts(mixed)) / 500
    assert shares[0] == pytest.approx((mixed < edges.values[0]).mean())
    raised = beyond_p(edges, edges.counts(source.normal(0.5, 1, 500)))
    assert edges.upper[raised.argmin()] and raised.min() < 1e-8


def test_mix_bound_is_an_upper_one() -> None:
    """Never below the exact probability, by enumeration of all tables of two totals; near it within a factor of 40."""
    reference, counts = np.array([20, 1, 0, 0]), np.array([4, 3, 2, 2])
    totals, new = reference + counts, 11

    def statistic(table: np.ndarray) -> float:
        return float(chi2_contingency(np.array([totals - table, table]), correction=False).statistic)

    observed, exact, every = statistic(counts), 0.0, 0.0
    from math import comb, prod

    for table in product(*(range(total + 1) for total in totals)):
        if sum(table) == new:
            weight = prod(comb(int(total), part) for total, part in zip(totals, table, strict=True))
            every += weight
            exact += weight * (statistic(np.array(table)) >= observed - 1e-9)
    found = mix_p(reference, counts)
    assert exact / every <= found <= 40 * exact / every
    assert found < 1e-2


def test_mix_holds_its_level() -> None:
    """With 77 classes, some of them rare, and unlike the usual approximation also far out in the tail."""
    source = np.random.default_rng(2)
    share = source.dirichlet(np.full(77, 0.5))
    found = np.array([mix_p(source.multinomial(300, share), source.multinomial(100, share)) for _ in range(600)])
    for level in (0.05, 1e-3):
        assert binomtest(int((found <= level).sum()), 600, level, alternative="greater").pvalue > 0.001
    other = source.permutation(share)
    assert mix_p(source.multinomial(300, share), source.multinomial(100, other)) < 1e-6
    assert mix_p(np.array([5, 0]), np.array([3, 0])) == 1.0  # one class only
    many = mix_p(np.array([900, 100]), np.array([40_000, 10_000]))  # in time, also with many rows
    assert 0 < many < 1e-6


def test_more_is_fishers_test() -> None:
    for wrong, told in ((0, 10), (5, 20), (20, 20)):
        expected = fisher_exact([[wrong, told - wrong], [8, 92]], alternative="greater").pvalue
        assert more_p(8, 100, wrong, told) == pytest.approx(expected)


def test_stability_index_has_its_mean_by_chance() -> None:
    source = np.random.default_rng(3)
    share = np.full(20, 0.05)
    pairs = [stability_index(source.multinomial(1000, share), source.multinomial(500, share)) for _ in range(300)]
    assert np.mean([index for index, _ in pairs]) == pytest.approx(pairs[0][1], rel=0.1)
    assert stability_index(np.array([50, 50]), np.array([5, 95]))[0] > 0.25


@pytest.mark.parametrize("classes", [3, 57])
def test_p_of_the_mix_never_rises_with_the_shift(classes: int) -> None:
    """One class comes more often, the others less: also where a bound takes the place of the approximation."""
    reference = np.full(classes, 20)
    values = []
    for more in range(0, 161, 2):
        counts = np.full(classes, 10)
        counts[0] += more
        values.append(mix_p(reference, counts))
    assert values[0] == pytest.approx(1.0) and values[-1] < 1e-4
    assert all(after <= before for before, after in pairwise(values))
