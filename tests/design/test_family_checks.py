"""Keys without an effect on a family's models are neither tuned nor axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.design.family_checks import check_family
from harness.errors import Problems
from tests.design.test_value_checks import PLAN, assert_told, cell

Main = Callable[..., tuple[int, str]]


@pytest.mark.parametrize("line", ["train.head_lr=1e-3,1e-4", "train.head_init=probe,random", "model.pooling=mean,last"])
def test_keys_of_a_head_are_not_tuned_where_there_is_none(main: Main, place: Path, line: str) -> None:
    """Models that write texts have no head of the program's, and trials would repeat one run."""
    told = assert_told(main, place, "-m", "task=text_generation", "method=lora", line, *PLAN)
    assert f"no cell of this study has the key {line.partition('=')[0]} to tune" in told


@pytest.mark.parametrize("key", ["train.head_lr", "model.pooling"])
def test_keys_of_a_head_are_no_axes_where_there_is_none(key: str) -> None:
    """Their cells would be the same under several names."""
    own = cell()
    found = []
    for family, variant in (("text_generation", {key: 1}), ("text_generation", {}), ("text_classification", {key: 1})):
        problems = Problems()
        data: Any = SimpleNamespace(family=family)
        check_family(replace(own, variant=variant), own.resolve({}), data, problems)
        found.append([line for line in problems.messages if "has no effect" in line])
    assert found[0][0].startswith(f"axes=[{key}]: {key} has no effect on task=") and found[1:] == [[], []]
