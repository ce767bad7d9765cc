"""The error rate spent over looks."""

import pytest

from harness.errors import HarnessError
from harness.statistics import spend


def test_shares_sum_to_alpha_and_all_looks_have_some() -> None:
    shares = spend(0.05, [0.2, 0.4, 2 / 3, 1])
    assert sum(shares) == pytest.approx(0.05)
    assert min(shares) >= 0.01 - 1e-12


def test_one_look_has_all() -> None:
    assert spend(0.05, [1.0]) == pytest.approx([0.05])


@pytest.mark.parametrize("fractions", [[], [0.5], [0.5, 0.5, 1.0], [0.0, 1.0], [0.5, 1.0, 1.5]])
def test_fractions_must_rise_to_1(fractions: list[float]) -> None:
    with pytest.raises(HarnessError, match="rise to 1"):
        spend(0.05, fractions)
