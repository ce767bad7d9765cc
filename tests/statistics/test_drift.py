"""Drift: no alarms without a change, an alarm for a real one, Holm as in statsmodels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from statsmodels.stats.multitest import multipletests

from harness.errors import HarnessError
from harness.statistics.drift import _holm, drift

Array = npt.NDArray[np.float64]


def cells(
    random: np.random.Generator, count: int, seeds: int, hardness: Array, spread: float, moved: float = 0.0
) -> dict[str, Array]:
    """Accuracy of cells on examples of shared hardness; `moved` is added to the first cell's mean."""
    found = {}
    for cell in range(count):
        level = 0.85 + random.normal(0, spread, (seeds, 1)) + (moved if cell == 0 else 0.0)
        noise = random.normal(0, 0.05, (seeds, len(hardness)))
        found[f"c{cell}"] = (hardness + noise < level).astype(float)
    return found


@pytest.mark.parametrize("same_rows", [True, False])
def test_without_a_change_alarms_are_rare(same_rows: bool) -> None:
    """Any cell of eight moves in at most 5 % of studies, and sampling error."""
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        hardness = random.random(400)
        before = cells(random, 8, 4, hardness, 0.01)
        after = cells(random, 8, 4, hardness if same_rows else random.random(500), 0.01)
        alarms += any(change.moved for change in drift(before, after, 0.05, list(before) if same_rows else ()))
    assert alarms / 200 <= 0.095


def test_a_real_change_is_found_and_only_that() -> None:
    """A cell that lost six points has moved; limits hold the difference; it comes first."""
    random = np.random.default_rng(1)
    hardness = random.random(1500)
    before = cells(random, 6, 5, hardness, 0.004)
    after = cells(random, 6, 5, hardness, 0.004, moved=-0.06)
    found = drift(before, after, paired=list(before))
    assert [change.cell for change in found if change.moved] == ["c0"]
    assert found[0].cell == "c0"
    assert found[0].low < found[0].difference < found[0].high < 0
    assert found[0].low < -0.06 < found[0].high
    assert all(change.low < 0 < change.high for change in found[1:])


def test_pairing_on_the_same_rows_finds_more() -> None:
    """What the examples share does not count as noise when both met the same ones."""
    random = np.random.default_rng(2)
    hardness = random.random(1000)
    before, after = cells(random, 1, 5, hardness, 0.002), cells(random, 1, 5, hardness, 0.002, moved=-0.02)
    paired, unpaired = drift(before, after, paired=["c0"])[0], drift(before, after)[0]
    assert paired.difference == unpaired.difference
    assert paired.p < unpaired.p
    assert (paired.paired, unpaired.paired) == (True, False)


def test_same_predictions_have_not_moved() -> None:
    """A deterministic cell that gives what it gave: p is 1; one seed speaks of models only."""
    scores = (np.random.default_rng(0).random((1, 50)) < 0.8).astype(float)
    found = drift({"a": scores, "gone": scores}, {"a": scores, "new": scores}, paired=["a"])
    assert [(change.cell, change.p, change.moved, change.scope) for change in found] == [("a", 1.0, False, "models")]


def test_paired_cells_need_equal_numbers_of_examples() -> None:
    """The error says what to do."""
    with pytest.raises(HarnessError, match="unpaired"):
        drift({"a": np.zeros((2, 5))}, {"a": np.zeros((2, 6))}, paired=["a"])


def test_holm_equals_statsmodels() -> None:
    """Adjusted p values of any order and number."""
    for size in (1, 2, 9):
        values = np.random.default_rng(size).random(size) ** 3
        assert _holm(values.tolist()) == pytest.approx(multipletests(values, method="holm")[1])
