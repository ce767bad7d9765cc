"""Our quick quantiles against scipy's slow ones."""

import numpy as np
import pytest
from scipy import stats

from harness.statistics.studentized_range import studentized_range


@pytest.mark.parametrize(("groups", "alpha"), [(2, 0.05), (3, 0.01), (10, 0.05), (20, 0.012)])
def test_quantiles_are_scipys(groups: int, alpha: float) -> None:
    for df in (1.0, 2.7, 9.0, 400.0):
        expected = stats.studentized_range.ppf(1 - alpha, groups, df)
        assert studentized_range(groups, alpha, df) == pytest.approx(expected, rel=1e-4)


def test_two_groups_give_students_t() -> None:
    df = np.array([1.5, 2.0, 8.0, 1e9])
    np.testing.assert_allclose(studentized_range(2, 0.05, df) / np.sqrt(2), stats.t.ppf(0.975, df), rtol=1e-4)
