"""Methods and keys without a meaning for a family are left out where nobody named them, otherwise refused."""

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


@pytest.mark.parametrize("task", ["demo_tags", "demo_similarity"])
def test_default_methods_that_a_family_lacks_are_left_out(task: str, main: Main) -> None:
    """The study runs with the others, and says which are missing."""
    code, printed = main("-m", f"task={task}", "plan=true", "calibrate=false")
    assert code == 0, printed
    assert f"zero_shot, nearest_mean: not for task={task}, and left out of the default methods" in printed
    assert f"{task}.minilm.lora" in printed and f"{task}.minilm.nearest" not in printed


def test_named_methods_stay_and_are_refused(main: Main) -> None:
    """No result is missing without an error."""
    code, printed = main("-m", "task=demo_tags", "method=nearest_mean,lora", "plan=true", "calibrate=false")
    assert code == 2 and "method=nearest_mean is for text_classification" in printed, printed


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


@pytest.mark.parametrize("batch", ["train.batch_size=1", "train.batch_size=1,32"])
def test_queries_have_passages_to_be_told_from(main: Main, place: Path, batch: str) -> None:
    """A batch of one query has a loss of nothing: told before a run, also where it is one of several values."""
    told = assert_told(main, place, "-m", "task=demo_retrieval", "method=lora", batch, *PLAN)
    assert "train.batch_size=1 leaves a query without other passages" in told
    told = assert_told(main, place, "-m", "task=demo_retrieval", "method=zero_shot", "model.pooling=model", *PLAN)
    assert "model.pooling=model is not for retrieval: choose mean, cls, last" in told


def test_what_no_augmentation_is_for(main: Main, place: Path) -> None:
    """There is none for sounds."""
    told = assert_told(main, place, "-m", "task=demo_sounds", "model=whisper-tiny-en", "augment=noise", *PLAN)
    assert "are sounds. Leave it out: there is none for these." in told and "For sounds: ." not in told
