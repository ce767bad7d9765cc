"""What of a study can use several devices a run (`launch.devices_per_run`), before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.family import TaskFamily
from harness.design.cells import Cell
from harness.errors import Problems


def trains(base: Mapping[str, Any]) -> bool:
    """Return whether the method of a configuration trains with gradients."""
    return "train" not in ((base.get("method") or {}).get("ignores") or ())


def check_cell(cell: Cell, base: Mapping[str, Any], family: TaskFamily | None, problems: Problems) -> None:
    """Add a problem for each setting of a cell that keeps its runs on one device.

    Args:
        cell: the cell.
        base: its resolved configuration.
        family: of its task; None if its data has a problem.
        problems: added to.
    """
    each = base["launch"]["devices_per_run"]
    if each == 1 or not trains(base):
        return
    shown = f"launch.devices_per_run={each}"
    if quantize := base["model"].get("quantize"):
        problems.add(
            f"model.quantize={quantize} loads a base that is trained on one device, and {shown} divides runs among "
            "several. Leave one of the two out."
        )
    if family is not None and "train.accumulate" in family.inapplicable:
        problems.add(
            f"task={cell.task}: {family.inapplicable['train.accumulate'][1]}. So is the loss of shares of a batch: "
            "leave launch.devices_per_run at 1."
        )


def check_methods(cells: Sequence[Cell], problems: Problems) -> None:
    """Add a problem if no method of a study can use several devices.

    Args:
        cells: all cells, also those with a problem of their own, which may be the ones that train.
        problems: added to.
    """
    each = max((cell.config["launch"]["devices_per_run"] for cell in cells), default=1)
    methods = ",".join(dict.fromkeys(cell.method for cell in cells))
    problems.check(
        each == 1 or any(trains(cell.config) for cell in cells),
        f"method={methods} trains nothing by gradients and uses one device, so launch.devices_per_run={each} would "
        "leave the others idle. Leave it at 1, or add a method that trains, such as method=lora.",
    )


def notes(cell: Cell, base: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a user must know of a cell whose runs do not use all of several devices, or not equally."""
    each, rows = base["launch"]["devices_per_run"], base["train"]["batch_size"]
    if each == 1:
        return ()
    if trains(base):
        if "train.batch_size" in cell.space or rows % each == 0:
            return ()
        return (
            f"train.batch_size={rows} has unequal shares on {each} devices, and a step takes as long as the largest: "
            f"one of train.batch_size={-(-rows // each) * each} takes as long.",
        )
    return (f"method={cell.method} trains nothing by gradients: its runs use one of the {each} devices of a run.",)
