"""Rows that belong together, against statsmodels' cluster-robust errors."""

import numpy as np
import pytest
import statsmodels.api as sm

from harness.errors import HarnessError
from harness.statistics import compare, interval


def rows(rng: np.random.Generator, runs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Scores of rows in 60 clusters of 1 to 5, and the cluster of each."""
    groups = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    effects = rng.normal(size=60)[groups]
    return 0.5 + effects + 0.3 * rng.normal(size=(runs, len(groups))), groups


def test_error_of_one_run_is_the_cluster_robust_error() -> None:
    values, groups = rows(np.random.default_rng(0))
    fitted = sm.OLS(values[0], np.ones(len(groups))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    found = interval(values, groups=[f"passage {group}" for group in groups])
    assert found.mean == pytest.approx(fitted.params[0])
    assert found.error == pytest.approx(fitted.bse[0] * np.sqrt(60 / 59))
    assert (found.df, found.examples) == (59, len(groups))
    assert found.error > 1.5 * interval(values).error


def test_difference_is_clustered_and_paired() -> None:
    rng = np.random.default_rng(1)
    values, groups = rows(rng, 2)
    pair = compare([values[:1], values[1:]], 0.01, groups=groups).differences[0][1]
    fitted = sm.OLS(values[0] - values[1], np.ones(len(groups))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    assert pair is not None
    assert (pair.mean, pair.error) == pytest.approx((fitted.params[0], fitted.bse[0] * np.sqrt(60 / 59)))


def test_clusters_of_one_row_are_no_clusters() -> None:
    values, _ = rows(np.random.default_rng(2), 3)
    found, plain = interval(values, groups=np.arange(values.shape[1])), interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((plain.mean, plain.low, plain.high))


def test_groups_that_do_not_fit_raise() -> None:
    with pytest.raises(HarnessError, match="3 rows and 2 groups"):
        interval(np.eye(3), groups=[0, 1])
    with pytest.raises(HarnessError, match="belong to one group"):
        interval(np.eye(3), groups=["a", "a", "a"])
