"""Values that depend on the model: the number of blocks that a method trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.kinds import kind_of
from harness.design.cells import Cell
from harness.errors import Problems
from harness.models import ResolvedModel


def check_blocks(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for each number of last blocks that is larger than the model's.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model, whose config.json says how many blocks it has.
        problems: added to.
    """
    if kind_of(base["method"]) != "last_layers" or model.blocks is None:
        return
    key = "method.layers"
    values = cell.space[key].extremes if key in cell.space else [base["method"].get("layers")]
    for value in values:
        if isinstance(value, int):
            problems.check(
                value <= model.blocks,
                f"{key}={value}: model={cell.model} has {model.blocks} blocks. Name fewer, or use method=full to "
                "train everything.",
            )
