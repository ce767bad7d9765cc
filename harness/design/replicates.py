"""`confirm.vary`: the replicates of each cell, which differ in the tuning, in the draw of training rows, or in both.

A verdict over seeds alone holds for the one configuration that one tuning run found on one draw (Bouthillier et al.
2021, "Accounting for Variance in Machine Learning Benchmarks", MLSys). Replicate r is tuned with `tune.seed` + r, or
trains on draw `task.draw` + r, for every cell. Its seeds are its own: with common ones the replicates would share the
luck of these seeds, and their spread would leave it out.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from harness.config.schema import FRESH_SEEDS, REPLICATE_SEEDS, RERANK_SEED, Config, ConfirmConfig
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell, prepare_cells
from harness.errors import HarnessError, Problems

SEEDS = 2**31  # number of seeds
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
            found[each.cell.id] += (replace(drawn.settled(each.numerics), replicate=label),)
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


def rerank_seeds(seed: int) -> list[int]:
    """Return the seeds at which `tune.select=rerank` trains the best trials again, given that of the tuning."""
    return [seed + RERANK_SEED + place for place in range(FRESH_SEEDS)]


def check_fresh(seeds: Sequence[int], config: Config, cells: Sequence[Cell]) -> list[str]:
    """Check that no configuration is confirmed at a seed that chose it, in any replicate, and return notes.

    Args:
        seeds: those of the confirmations of the first replicate.
        config: of the study.
        cells: its cells; where none has a tuned key, nothing is chosen.

    Raises:
        HarnessError: `tune.select=rerank` uses one of them, or seeds that replication may add; or one is too large.
    """
    if not any(cell.space for cell in cells):
        return []
    confirm, problems = config.confirm, Problems()
    most = (confirm.looks or [confirm.max_seeds or 0])[-1]
    # Replication adds the next ones, and passes over the seed of the tuning.
    next_ones = (seed for seed in itertools.count(max(seeds) + 1) if seed != config.seed)
    added = itertools.islice(next_ones, max(0, most - len(seeds)))
    met = {*all_seeds(seeds, confirm), *added}
    problems.check(
        max(met) < SEEDS,
        f"The confirmations would train at seeds up to {max(met)}, and a seed lies in [0, {SEEDS - 1}]. Set a smaller "
        "seed.",
    )
    if config.tune.select == "rerank":
        own = rerank_seeds(config.seed)
        used = {seed + REPLICATE_SEEDS * label for label in range(confirm.tunings) for seed in own}
        between = f"the seeds {' and '.join(map(str, own))}" + (
            f", and these plus {REPLICATE_SEEDS} r for replicate r" if confirm.tunings > 1 else ""
        )
        if both := sorted(used & met):
            problems.add(
                f"tune.select=rerank chooses by runs at {between} (seed + {RERANK_SEED}, ...), and a confirmation "
                f"needs seeds that chose nothing: {', '.join(map(str, both))} would do both. Name other seeds, or "
                f"fewer than {RERANK_SEED} (confirm.seeds, confirm.max_seeds)."
            )
    problems.raise_any()
    if config.seed not in seeds or config.tune.trial_seeds != "shared":
        return []
    others = [max(seeds) + 1 if seed == config.seed else seed for seed in seeds]
    return [
        f"seed={','.join(map(str, seeds))}: {config.seed} is also the seed at which configurations are chosen, so that "
        f"confirmation is not fresh. Others are: seed={','.join(map(str, others))}."
    ]


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
