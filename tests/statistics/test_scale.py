"""Intervals and differences stay on the scale of their metric."""

import numpy as np
import pytest
from scipy import stats

from harness.statistics import Scale, compare, interval, scale_of
from harness.statistics.drift import drift
from harness.tasks.text_classification.metrics import METRICS

FRACTION = scale_of("accuracy")
MEANS = set(METRICS) - {"calibration_error"}  # which has no score a row


def rows(right: int, n: int, seeds: int = 1) -> np.ndarray:
    """Seeds that are right on the same rows."""
    return np.repeat([[1.0] * right + [0.0] * (n - right)], seeds, axis=0)


def wilson(right: int, n: int, quantile: float) -> tuple[float, float]:
    """The score interval in the form of its textbook."""
    p, z = right / n, quantile**2 / n
    half = np.sqrt(z * (p * (1 - p) + z / 4))
    return (p + z / 2 - half) / (1 + z), (p + z / 2 + half) / (1 + z)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("n", [16, 50, 385])
def test_all_right_or_all_wrong_is_the_score_interval_of_so_many_rows(n: int, seeds: int) -> None:
    """16 of 16 right is neither sure nor more than sure."""
    quantile = stats.t.isf(0.025, n - 1)
    found = interval(rows(n, n, seeds), scale=FRACTION)
    assert (found.low, found.high) == (pytest.approx(wilson(n, n, quantile)[0]), 1.0)
    assert 0.5 < found.low < 1 - 2 / n
    found = interval(rows(0, n, seeds), scale=FRACTION)
    assert (found.low, found.high) == (0.0, pytest.approx(wilson(0, n, quantile)[1]))


def test_many_rows_of_one_seed_give_wilsons_interval() -> None:
    found = interval(rows(430, 500), scale=FRACTION)
    assert (found.low, found.high) == pytest.approx(wilson(430, 500, stats.t.isf(0.025, 499)), abs=1e-3)
    symmetric = interval(rows(430, 500))
    assert (found.low, found.high) == pytest.approx((symmetric.low, symmetric.high), abs=0.005)


def test_one_wrong_row_widens_the_interval_at_most_a_little() -> None:
    """The fewer are wrong the higher the interval, with no jump where the variance is estimated as none."""
    found = [interval(rows(50 - wrong, 50, 3), scale=FRACTION) for wrong in range(6)]
    lows = [each.low for each in found]
    assert lows == sorted(lows, reverse=True)
    single = rows(50, 50, 3)
    single[0, 0] = 0  # one seed errs on one row
    assert lows[1] < interval(single, scale=FRACTION).low < 1 - 2 / 50


@pytest.mark.parametrize("metric", sorted(MEANS))
def test_limits_hold_the_mean_and_stay_on_the_scale(metric: str) -> None:
    """Of any data, few rows and seeds that differ much included."""
    scale, rng = scale_of(metric), np.random.default_rng(5)
    for _ in range(60):
        n, seeds, sharp = int(rng.integers(4, 40)), int(rng.integers(1, 4)), rng.choice([0.1, 1, 30])
        labels = np.arange(n) % 2
        scores = []
        for _ in range(seeds):
            odds = sharp * (2 * labels - 1 + rng.normal(size=n) * rng.choice([0, 1, 3]))
            positive = 1 / (1 + np.exp(-odds))
            scores.append(METRICS[metric].per_row(labels, np.stack([1 - positive, positive], axis=1)))
        count = METRICS[metric].informative_rows(np.bincount(labels))
        found = interval(np.array(scores), scale=scale, rows=count)
        assert scale.low <= found.low <= found.high <= scale.high
        assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
        assert found.high > found.low


def test_the_rarer_class_limits_what_a_perfect_ranking_tells() -> None:
    """Five positives among 500 rows tell of AUROC what five do; of the mean of classes little more; of accuracy 500."""
    classes = np.array([495, 5])
    assert METRICS["auroc"].informative_rows(classes) == 5
    assert 5 < METRICS["macro_f1"].informative_rows(classes) < 20
    assert METRICS["accuracy"].informative_rows(classes) == 500
    assert METRICS["macro_f1"].informative_rows(np.array([250, 250])) == 500


def test_differences_end_at_the_largest_that_there_can_be() -> None:
    """Of four rows, all right against all wrong: at most 100 points; verdicts are those without the limit."""
    cells = [rows(4, 4, 2), rows(0, 4, 2), rows(2, 4, 2)]
    free, bounded = compare(cells, 0.01), compare(cells, 0.01, span=FRACTION.span)
    assert [each.word for each in free.verdicts] == [each.word for each in bounded.verdicts]
    assert max(each.high for row in free.differences for each in row if each) > 1
    for row in bounded.differences:
        for each in filter(None, row):
            assert -1 <= each.low <= each.mean <= each.high <= 1
            assert each.least >= -1
    for verdict in bounded.verdicts:
        assert verdict.low >= -1 and verdict.high <= 1 and verdict.detectable <= 1
    (change,) = drift({"a": cells[0]}, {"a": cells[1]}, spans={"a": 1.0})
    assert change.low == -1
    assert Scale(-1, 1).span == 2


@pytest.mark.parametrize(
    ("metric", "classes", "reason"),
    [
        ("ece", [500, 500], "estimated too high"),
        ("macro_f1", [7] * 77, "here are 7.0"),
        ("macro_f1", [20] * 77, None),
        ("mcc", [95, 5], "rarer class has 5 rows"),
        ("loss", [95, 5], "rarer class has 5 rows"),
        ("auroc", [95, 5], None),
        ("accuracy", [1, 1], None),
    ],
)
def test_metrics_whose_intervals_would_not_cover_have_none(metric: str, classes: list[int], reason: str | None) -> None:
    found = METRICS[metric].no_interval(np.array(classes))
    assert found is None if reason is None else found is not None and reason in found
