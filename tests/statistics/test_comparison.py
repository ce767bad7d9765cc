"""Comparisons against scipy and formulas worked out on plain data, and the words they lead to."""

import numpy as np
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness.statistics import Difference, compare, typical_gap


def difference(cells: list[np.ndarray], a: int = 0, b: int = 1, alpha: float = 0.05) -> Difference:
    found = compare(cells, margin=0.01, alpha=alpha).differences[a][b]
    assert found is not None
    return found


def examples(count: int, n: int = 60) -> list[np.ndarray]:
    """Correlated scores of deterministic cells: (n,) each."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=n)
    return [shared + 0.4 * rng.normal(size=n) + 0.1 * k for k in range(count)]


def noisy(mean: float, deviation: float, seeds: int, rng: np.random.Generator, n: int = 400) -> np.ndarray:
    """Scores whose only variance is that of the seeds, but for a trace."""
    return mean + deviation * rng.normal(size=(seeds, 1)) + 1e-7 * rng.normal(size=(seeds, n))


def test_two_deterministic_cells_are_a_paired_t_test() -> None:
    a, b = examples(2)
    found = difference([np.tile(a, (3, 1)), np.tile(b, (2, 1))])
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval()
    assert found.mean / found.error == pytest.approx(expected.statistic)
    assert (found.low, found.high, found.df) == pytest.approx((low, high, 59), rel=1e-4)


def test_one_seed_is_a_paired_t_test_on_models() -> None:
    """With one seed a cell the same interval comes out, but it concerns the trained models."""
    a, b = examples(2)
    found = compare([a[None], b[None]], margin=0.01)
    low = stats.ttest_rel(a, b).confidence_interval().low
    assert found.differences[0][1].low == pytest.approx(low, rel=1e-4)
    assert {verdict.scope for verdict in found.verdicts} == {"models"}


def test_many_deterministic_cells_use_tukeys_quantile() -> None:
    """Each pair has the paired t statistic and the studentized range's quantile (Tukey 1953)."""
    cells = examples(5)
    found = compare([np.tile(each, (2, 1)) for each in cells], margin=0.01, alpha=0.1)
    critical = stats.studentized_range.ppf(0.9, 5, 59) / np.sqrt(2)
    for a in range(5):
        for b in range(5):
            if a != b:
                pair = found.differences[a][b]
                gap = cells[a] - cells[b]
                error = gap.std(ddof=1) / np.sqrt(len(gap))
                assert (pair.low, pair.high) == pytest.approx(
                    (gap.mean() - critical * error, gap.mean() + critical * error), rel=1e-3
                )


def test_seeds_alone_of_like_spread_are_nearly_tukeys_test() -> None:
    """Where only seeds vary, and alike, the variances are pooled: scipy's tukey_hsd, but up to a tenth wider."""
    shape = np.array([-1.0, 0.2, 0.8, 0.0])
    cells = [0.8 + 0.01 * k + 0.01 * shape[:, None] + np.zeros((4, 5000)) for k in range(3)]
    expected = stats.tukey_hsd(*(cell[:, 0] for cell in cells)).confidence_interval(0.95)
    for a, b in ((0, 1), (0, 2), (2, 1)):
        found = difference(cells, a, b)
        assert 1 < (found.high - found.low) / (expected.high[a, b] - expected.low[a, b]) < 1.1


def test_a_wild_cell_leaves_the_others_alone() -> None:
    """Its spread is its own, so what steady cells show of each other stays as it is."""
    rng = np.random.default_rng(8)
    steady = [noisy(mean, 0.003, 3, rng) for mean in (0.90, 0.88, 0.87, 0.86)]
    alone, among = (difference(cells).error for cells in (steady, [*steady, noisy(0.87, 0.1, 3, rng)]))
    assert among < 1.5 * alone


def test_few_lost_rows_make_no_cell_not_worse() -> None:
    """A lower limit accounts for losses that are rare, each of which counts a whole row."""
    lost = np.ones((2, 150))
    lost[:, :4] = 0.0
    won = 2 - lost
    same = np.ones((2, 150))
    behind, ahead = (compare([cell, same], margin=0.05).differences[0][1] for cell in (lost, won))
    assert behind is not None and ahead is not None
    assert behind.error == pytest.approx(ahead.error)
    assert behind.mean - behind.least > 1.2 * (ahead.mean - ahead.least)


def test_one_noisy_cell_against_a_deterministic_one_is_a_t_test_over_seeds() -> None:
    """Nothing is pooled with a cell that has no seed variance: the t interval of the noisy cell's own seeds."""
    cell = noisy(0.85, 0.02, 5, np.random.default_rng(1))
    found = difference([cell, np.full((3, 400), 0.8)])
    low, high = stats.ttest_1samp(cell.mean(axis=1) - 0.8, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), rel=2e-2)  # 400 rows add a little


def test_words() -> None:
    """Surely above all, within the margin of the best, surely below it, and what is too noisy to say."""
    rng = np.random.default_rng(2)
    steady = [noisy(mean, 0.0005, 5, rng) for mean in (0.90, 0.88, 0.80)]
    assert [v.word for v in compare(steady, margin=0.01).verdicts] == ["better", "worse", "worse"]
    assert [v.word for v in compare(steady, margin=0.03).verdicts] == ["better", "not worse", "worse"]
    wild = [noisy(mean, 0.05, 3, rng) for mean in (0.90, 0.88, 0.80)]
    assert {v.word for v in compare(wild, margin=0.01).verdicts} == {"unresolved"}


def test_worse_by_less_than_the_margin_is_not_worse() -> None:
    """A difference that is real but shown to be smaller than the margin is no reason against a cell."""
    rng = np.random.default_rng(3)
    near = [noisy(mean, 0.0002, 6, rng) for mean in (0.900, 0.895)]
    found = compare(near, margin=0.01)
    assert found.differences[1][0].high < 0
    assert [v.word for v in found.verdicts] == ["better", "not worse"]


def test_verdict_tells_gap_and_limits_against_the_best_of_the_others() -> None:
    rng = np.random.default_rng(4)
    found = compare([noisy(mean, 0.001, 5, rng) for mean in (0.90, 0.88, 0.80)], margin=0.01)
    best, second, _ = found.verdicts
    assert best.gap == 0
    assert second.gap == pytest.approx(0.02, abs=0.002)
    assert best.low > 0.01  # its lead over the second
    assert second.low < -second.gap < second.high < 0


def test_a_cell_without_seeds_limits_the_claims_that_rest_on_it() -> None:
    """A single-seed cell makes claims about all cells ones about models, but not what two others prove alone."""
    rng = np.random.default_rng(6)
    cells = [noisy(0.9, 0.001, 5, rng), noisy(0.8, 0.001, 5, rng), noisy(0.7, 0.001, 1, rng)]
    assert [v.scope for v in compare(cells, margin=0.01).verdicts] == ["models", "seeds", "models"]


def test_detectable_gap_is_resolved_with_80_percent_power() -> None:
    """At the gap that a comparison calls detectable, about four studies in five find the difference."""
    rng = np.random.default_rng(7)
    cells = [noisy(0.8, 0.01, 6, rng) for _ in range(2)]
    detectable = float(
        np.mean([compare([noisy(0.8, 0.01, 6, rng) for _ in range(2)], 0.0).verdicts[0].detectable for _ in range(100)])
    )
    found = 0
    for _ in range(300):
        cells = [noisy(0.8 + detectable, 0.01, 6, rng), noisy(0.8, 0.01, 6, rng)]
        found += compare(cells, 0.0).verdicts[0].word == "better"
    assert 0.7 < found / 300 < 0.9


def test_typical_gap_is_that_of_most_cells() -> None:
    rng = np.random.default_rng(9)
    cells = [noisy(0.9, deviation, 3, rng) for deviation in (0.01, 0.01, 0.01, 0.01, 0.3)]
    verdicts = compare(cells, margin=0.0).verdicts
    gap = typical_gap(verdicts)
    assert gap is not None and gap < max(each.detectable for each in verdicts) / 3
    assert typical_gap(compare(cells[:1], margin=0.0).verdicts) is None


def test_identical_cells_are_not_worse_where_rows_are_many() -> None:
    """That four rows agree proves nothing; that a thousand do, does."""
    for rows, word in ((4, "unresolved"), (1000, "not worse")):
        cell = np.tile(np.resize([0.0, 1.0, 1.0, 1.0], rows), (3, 1))
        assert [v.word for v in compare([cell, cell], margin=0.01).verdicts] == [word, word]


def test_one_cell_has_nothing_to_be_worse_than() -> None:
    found = compare([np.array([[0.0, 1.0], [1.0, 1.0]])], margin=0.01)
    assert found.verdicts[0].word == "not worse"
    assert found.differences == ((None,),)


def test_cells_of_different_examples_raise() -> None:
    with pytest.raises(HarnessError, match="same examples; these have 4 and 5"):
        compare([np.ones((2, 4)), np.ones((2, 5))], margin=0.01)
    with pytest.raises(HarnessError, match="at least 1 cell"):
        compare([], margin=0.01)
