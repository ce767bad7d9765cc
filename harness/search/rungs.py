"""Where trials are judged on the way: rungs, amounts of a resource that a run has trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.schema import TuneConfig
from harness.design.prepared_cell import PreparedCell
from harness.design.search_space import Parameter
from harness.errors import Problems


@dataclass(frozen=True)
class Rungs:
    """Where the trials of a study are judged.

    Attributes:
        resource: what is counted: epochs | steps | examples.
        at: the amounts, rising, all below a full run; empty judges nobody on the way.
        total: of a full run at the documented defaults; the largest where epochs are tuned.
    """

    resource: str = "epochs"
    at: tuple[int, ...] = ()
    total: int = 1


NO_RUNGS = Rungs()


def rungs_of(cells: Sequence[PreparedCell], tune: TuneConfig) -> Rungs:
    """The rungs of cells that compete in one study; those of the longest runs among them.

    Successive halving goes up by powers of `tune.reduction_factor`, and no rung lies beyond half of a full run: a pause
    so near the end would save less than it costs. The median looks at every epoch, or at every multiple of the first
    rung. Where no first rung is named it is at a share of a full run (for a reduction factor of 3, a ninth), and at
    least one epoch, step or example: what is seen earlier is mostly noise.

    Args:
        cells: of which those that nothing is trained of run whole.
        tune: the pruner and its settings.
    """
    total = max((_total(cell, tune.resource) for cell in cells if trains(cell.base)), default=0)
    if tune.pruner == "none" or total == 0:
        return Rungs(tune.resource)
    factor = tune.reduction_factor
    first = tune.min_resource or max(1, total // factor**2)
    if tune.pruner in ("median", "patient"):
        return Rungs(tune.resource, tuple(range(first, total, 1 if tune.resource == "epochs" else first)), total)
    return Rungs(tune.resource, halving(first, factor, total), total)


def halving(first: int, factor: int, total: int) -> tuple[int, ...]:
    """The rungs of successive halving: powers of the factor, no more than half of a full run."""
    at = [first]
    while 2 * at[-1] <= total:
        at.append(at[-1] * factor)
    return tuple(at[:-1])


def trains(config: Mapping[str, Any]) -> bool:
    """Whether the method of a configuration is trained; closed-form ones have no rungs."""
    return "train" not in (config["method"].get("ignores") or ())


def check_pruner(groups: Sequence[Sequence[PreparedCell]], tune: TuneConfig) -> None:
    """Refuse a pruner that would have nothing to judge, or nothing to go on from.

    Args:
        groups: the cells that compete in one study each.
        tune: the pruner and its settings.

    Raises:
        HarnessError: everything that is in its way.
    """
    problems = Problems()
    for group in groups if tune.pruner != "none" else ():
        trained = [cell for cell in group if trains(cell.base)]
        if trained and not (rungs := rungs_of(group, tune)).at:
            problems.add(
                f"tune.pruner={tune.pruner} has nothing to judge in {trained[0].cell.id}: a run is {rungs.total} "
                f"{tune.resource} long, and "
                + (f"tune.min_resource={tune.min_resource}" if tune.min_resource else "the first rung")
                + " leaves too little after it. Count finer (tune.resource=steps), lower tune.min_resource, train for "
                "more epochs, or set tune.pruner=none."
            )
        folded = [cell.cell.id for cell in trained if cell.facts.get("validation") == "kfold"]
        if tune.pruner == "asha" and folded:
            problems.add(
                f"tune.pruner=asha pauses a run on its one training, and task.validation=kfold trains {folded[0]} once "
                "a fold. Use a validation split (task.validation=pool or split), or tune.pruner=median, which "
                "compares trials on their first fold."
            )
    problems.raise_any()


def _total(ready: PreparedCell, resource: str) -> int:
    """How long a full run of a cell is, by its data; copies by augmentation come on top."""
    train = ready.base["train"]
    epochs = _largest(ready.cell.space.get("train.epochs"), int(train["epochs"]))
    if train.get("stop_epoch") and "train.stop_epoch" not in ready.cell.space:
        epochs = min(epochs, int(train["stop_epoch"]))
    rows = int(ready.facts["rows"]["train"])
    steps = -(-rows // (int(train["batch_size"]) * int(train["accumulate"])))
    return epochs * {"epochs": 1, "steps": steps, "examples": rows}[resource]


def _largest(entry: Parameter | None, default: int) -> int:
    if entry is None:
        return default
    return int(max(entry.values)) if entry.values is not None else int(entry.distribution.high)
