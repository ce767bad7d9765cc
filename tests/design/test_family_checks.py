"""Methods that nobody named and that are not for a task are left out; named ones are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
