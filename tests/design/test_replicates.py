"""No configuration is confirmed at a seed that chose it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.config.schema import Config, ConfirmConfig, TuneConfig
from harness.design.replicates import check_fresh, rerank_seeds
from harness.errors import HarnessError


def fresh(seeds: range | list[int], seed: int = 0, select: str = "rerank", **confirm: Any) -> list[str]:
    """The notes about these seeds."""
    cells: Any = [SimpleNamespace(space={"train.lr": None})]
    config = Config(seed=seed, tune=TuneConfig(select=select), confirm=ConfirmConfig(len(seeds), **confirm))
    return check_fresh(list(seeds), config, cells)


@pytest.mark.parametrize(
    ("seeds", "confirm"),
    [
        (range(1, 501), {}),  # confirm.seeds=500
        (range(1, 4), {"max_seeds": 500}),
        (range(1, 3), {"looks": [2, 500]}),
        (range(499, 500), {"max_seeds": 2}),
        ([7, 501], {}),  # seed=7,501
        ([1500], {"vary": ["seed", "tuning"]}),
        ([2501], {"vary": ["seed", "tuning", "draw"]}),
        ([1, 600], {"max_seeds": None, "vary": ["seed", "tuning"], "replicates": 2, "seed": 100}),
    ],
)
def test_seeds_of_the_reranking_confirm_nothing(seeds: range | list[int], confirm: dict[str, Any]) -> None:
    """Whether they are named, counted, added at looks, or those of another replicate."""
    with pytest.raises(HarnessError, match="a confirmation needs seeds that chose nothing"):
        fresh(seeds, confirm.pop("seed", 0), **confirm)


def test_other_seeds_pass() -> None:
    """Up to the first of the re-ranking; and without it any."""
    assert fresh(range(1, 500)) == fresh(range(1, 4), max_seeds=499) == []
    assert fresh([500], vary=["seed", "draw"], select="best") == []
    assert fresh([1500]) == [] and rerank_seeds(2) == [502, 503]


def test_the_seed_of_the_tuning_is_told() -> None:
    """A list that begins at zero is a habit, and the first of its seeds chose the configuration."""
    (note,) = fresh([0, 1, 2])
    assert note.endswith("Others are: seed=3,1,2.")
    with pytest.raises(HarnessError, match=r"up to 2147483648, and a seed lies in \[0, 2147483647\]"):
        fresh([2**31], seed=2**31 - 1, select="best")
