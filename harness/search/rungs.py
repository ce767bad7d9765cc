"""Rungs: the amounts of a training resource at which running trials are compared."""

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
    """The rungs at which the trials of an Optuna study are compared.

    Attributes:
        resource: the unit: epochs | steps | examples.
        at: the amounts, rising, all below a full run; empty if trials are not compared before their end.
        total: the amount of a full run at the documented defaults; the largest if epochs are tuned.
    """

    resource: str = "epochs"
    at: tuple[int, ...] = ()
    total: int = 1


NO_RUNGS = Rungs()


def rungs_of(cells: Sequence[PreparedCell], tune: TuneConfig) -> Rungs:
    """Return the rungs of the cells of one Optuna study; the longest runs among them decide.

    For successive halving the rungs are powers of `tune.reduction_factor`, and no rung lies beyond half of a full run:
    a pause so near the end would save less than it costs. For the median they are every epoch, or every multiple of the
    first rung. Without `tune.min_resource` the first rung is a share of a full run (a ninth for a reduction factor of
    3), but at least one epoch, step or example: earlier scores are mostly noise.

    Args:
        cells: the cells; those whose method is not trained have no rungs and are ignored.
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
    """Return the rungs of successive halving: `first` times powers of the factor, at most half of a full run."""
    at = [first]
    while 2 * at[-1] <= total:
        at.append(at[-1] * factor)
    return tuple(at[:-1])


def trains(config: Mapping[str, Any]) -> bool:
    """Return whether the method of a configuration is trained; closed-form methods have no rungs."""
    return "train" not in (config["method"].get("ignores") or ())


def check_pruner(groups: Sequence[Sequence[PreparedCell]], tune: TuneConfig) -> None:
    """Refuse a pruner that would have no rungs to compare trials at, or that cannot pause with k-fold validation.

    Args:
        groups: the cells of each Optuna study.
        tune: the pruner and its settings.

    Raises:
        HarnessError: all reasons at once.
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
    """Return the amount of a full run of a cell, from the rows of its data; augmented copies are not counted."""
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
