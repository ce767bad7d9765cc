"""`confirm.vary`: the replicates of each cell, which differ in the tuning, in the draw of training rows, or in both.

A verdict over seeds alone holds for the one configuration that one tuning run found on one draw (Bouthillier et al.
2021, "Accounting for Variance in Machine Learning Benchmarks", MLSys). Replicate r is tuned with `tune.seed` + r, or
trains on draw `task.draw` + r, for every cell. Its seeds are its own: with common ones the replicates would share the
luck of these seeds, and their spread would leave it out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from harness.config.schema import REPLICATE_SEEDS, ConfirmConfig
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell, prepare_cells
from harness.errors import HarnessError, Problems

Replicates = dict[str, tuple[PreparedCell, ...]]  # by cell, its replicates in the order of their labels


def replicates(ready: Sequence[PreparedCell], confirm: ConfirmConfig, config: DictConfig) -> Replicates:
    """Make the replicates of each cell; the first is the cell itself.

    Args:
        ready: the cells.
        confirm: what varies.
        config: of the study.

    Raises:
        HarnessError: draws are to vary, and a task has none.
    """
    found: Replicates = {each.cell.id: (each,) for each in ready}
    if "draw" not in confirm.vary:
        return {
            cell: tuple(replace(own[0], replicate=label) for label in confirm.labels) for cell, own in found.items()
        }
    problems = Problems()
    for each in ready:
        if why := _without_draws(each.cell):
            problems.add(f"confirm.vary=[{','.join(confirm.vary)}]: {each.cell.id} {why}")
    problems.raise_any()
    for label in list(confirm.labels)[1:]:
        for each, drawn in zip(ready, prepare_cells([_drawn(each.cell, label) for each in ready], config), strict=True):
            problems.check(
                drawn.fingerprint != each.fingerprint,
                f"confirm.vary=[{','.join(confirm.vary)}]: task.draw changes nothing in {each.cell.id}: all its rows "
                "are used. Leave draw out, or keep fewer rows (task.shots=<rows>).",
            )
            found[each.cell.id] += (replace(drawn, replicate=label),)
    problems.raise_any()
    return found


def all_seeds(seeds: Sequence[int], confirm: ConfirmConfig) -> tuple[int, ...]:
    """Return the seeds of the confirmations of all replicates, given those of the first.

    Raises:
        HarnessError: two replicates would have a seed in common.
    """
    found = tuple(seed + REPLICATE_SEEDS * label for label in confirm.labels for seed in seeds)
    if len({*found}) < len(found):
        raise HarnessError(
            f"seed={','.join(map(str, seeds))}: the seeds of replicate r are these plus {REPLICATE_SEEDS} r, so none "
            f"may be another plus a multiple of {REPLICATE_SEEDS}. Leave seed out (confirm.seeds={len(seeds)})."
        )
    return found


def _without_draws(cell: Cell) -> str | None:
    """Return why the training rows of a cell cannot be drawn anew; None if they can."""
    task = cast(dict[str, Any], OmegaConf.to_container(cell.config.task, resolve=False))
    if "task.draw" in cell.variant:
        return "is a draw already: task.draw makes cells here. Give task.draw one value, or leave draw out."
    if "draw" not in task:
        return "has a task without draws. Leave draw out of confirm.vary."
    if task.get("shots", 0) is None:
        return "trains on all rows, so there is nothing to draw. Keep some (task.shots=10), or leave draw out."
    return None


def _drawn(cell: Cell, label: int) -> Cell:
    config = copy.deepcopy(cell.config)
    OmegaConf.update(config, "task.draw", int(config.task.draw) + label)
    return replace(cell, config=config)
