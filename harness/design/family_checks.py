"""Checks of what a task's family allows: methods that are for it, and keys of `train` that have a meaning for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.api.family import TaskFamily, families
from harness.data.dataset import Dataset
from harness.design.cells import Cell
from harness.errors import Problems

EVERY = "method=lora,full"  # a choice of methods that are for every family


def check_family(cell: Cell, base: Mapping[str, Any], data: Dataset | None, problems: Problems) -> None:
    """Add a problem for a method that is for other families, and for each value without a meaning for this one.

    Args:
        cell: the cell.
        base: its resolved configuration.
        data: of its task; None if it could not be loaded.
        problems: added to.
    """
    if data is None or not isinstance(base.get("method"), Mapping):
        return  # another check says so
    name = data.family
    wanted = (base["method"].get("about") or {}).get("tasks") or (name,)
    problems.check(
        name in wanted,
        f"method={cell.method} is for {', '.join(wanted)}, and task={cell.task} is {name}. Choose methods for every "
        f"task, such as {EVERY}; docs/methods.md says which are not.",
    )
    problems.check(
        not (
            families()[name].writes and base.get("augment") and "augment" not in (base["method"].get("ignores") or ())
        ),
        f"augment={','.join(base.get('augment') or ())} copies texts with a label, and task={cell.task} is {name}: "
        "leave it out.",
    )
    for key in families()[name].unused:
        problems.check(
            key not in cell.variant,
            f"axes=[{key}]: {key} has no effect on task={cell.task}, which is {name}, so its cells would be the same. "
            f"Leave {key} out.",
        )
    for message in _inapplicable(cell, base, families()[name]):
        problems.add(message)


def _inapplicable(cell: Cell, base: Mapping[str, Any], family: TaskFamily) -> Iterator[str]:
    if "train" in (base["method"].get("ignores") or ()):
        return
    for key, (off, why) in family.inapplicable.items():
        section, _, leaf = key.partition(".")
        tuned = cell.space.get(key)
        values = [base[section][leaf]] if tuned is None else tuned.extremes
        if wrong := [value for value in values if value != off]:
            yield (
                f"{key}={wrong[0]} has no meaning for task={cell.task}, which is {family.name}: {why}. Leave it at "
                f"{off:g}."
            )
