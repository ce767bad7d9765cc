"""Total cost of ownership and break-even."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.statistics.ownership import Ownership, break_even

DEAR_TO_TRAIN = Ownership(tuning=900.0, training=100.0, request=0.01)
DEAR_TO_SERVE = Ownership(tuning=100.0, training=0.0, request=0.04)


def test_total() -> None:
    """Tuning, training and every request of every month."""
    assert DEAR_TO_TRAIN.total(1000, 12) == pytest.approx(1000 + 120)
    assert DEAR_TO_TRAIN.total(0, 12) == 1000


def test_break_even_is_where_totals_meet() -> None:
    """The same either way round, in requests and in months."""
    found = break_even(DEAR_TO_TRAIN, DEAR_TO_SERVE, 5000)
    assert found is not None
    assert found == break_even(DEAR_TO_SERVE, DEAR_TO_TRAIN, 5000)
    assert found.requests == pytest.approx(30_000)
    assert found.months == pytest.approx(6)
    assert DEAR_TO_TRAIN.total(5000, 6) == pytest.approx(DEAR_TO_SERVE.total(5000, 6))
    without = break_even(DEAR_TO_TRAIN, DEAR_TO_SERVE)
    assert without is not None and without.months is None


def test_no_break_even_where_one_is_always_cheaper() -> None:
    """Cheaper at once and a request, or the same cell."""
    assert break_even(DEAR_TO_TRAIN, Ownership(2000.0, 0.0, 0.02)) is None
    assert break_even(DEAR_TO_TRAIN, DEAR_TO_TRAIN) is None


def test_unknown_costs_stay_unknown() -> None:
    """None is never 0; negative requests are an error."""
    for missing in (Ownership(None, 1.0, 1.0), Ownership(1.0, None, 1.0), Ownership(1.0, 1.0, None)):
        assert missing.total(10, 1) is None
        assert break_even(missing, DEAR_TO_SERVE) is None
    with pytest.raises(HarnessError, match="0 or more"):
        DEAR_TO_TRAIN.total(-1, 12)
