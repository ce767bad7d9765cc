"""Tasks as a user gets them: composed from conf/task, or made from a small file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.tasks.text_classification.task import TextClassification, TextTask

CONF = Path(__file__).parents[2] / "conf"
TASKS = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))

Write = Callable[..., Path]


def make(name: str, *overrides: str) -> TextTask:
    """The task that conf/task/<name>.yaml describes."""
    task: TextTask = build(settings(name, *overrides))
    return task


def settings(name: str, *overrides: str) -> dict[str, Any]:
    """The settings of such a task."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = compose(f"task/{name}", list(overrides)).task
    content: Any = OmegaConf.to_container(node, resolve=True)
    return content  # type: ignore[no-any-return] # OmegaConf's own type is wider


def problems(task: TextTask) -> str:
    """What loading the task complains about."""
    with pytest.raises(HarnessError) as caught:
        task.load()
    return str(caught.value)


def own(path: Path, **fields: Any) -> TextClassification:
    """A task over the user's own file."""
    return TextClassification(name="mine", path=str(path), **fields)


def rows_csv(rows: Sequence[tuple[str, ...]], header: str = "text,label") -> str:
    """A CSV file's content."""
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"
