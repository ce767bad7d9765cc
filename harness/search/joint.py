"""`tune.mode=joint`: one Optuna study over several methods of a task and model; the method itself is a parameter.

Combined algorithm selection and hyperparameter optimization (CASH; Thornton et al. 2013, "Auto-WEKA", KDD): the keys of
each method are conditional on the method, so the search spends its trials on the promising methods. It answers which
configuration is best, not how methods compare when each is tuned alike; for that use `tune.mode=fair`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.storages import BaseStorage

from harness.config.schema import TuneConfig
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell
from harness.errors import HarnessError
from harness.records.signature import joint_group_key
from harness.search.joint_cell import MethodTrials
from harness.search.joint_trials import JointTrials
from harness.search.rungs import rungs_of
from harness.search.trial_source import TrialSource
from harness.search.trials import SingleCellTrials


def groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Group the cells by joint study: cells of the same task, model and other axes."""
    by_key: dict[str, list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(joint_group_key(cell.task, cell.model, cell.variant), []).append(cell)
    # Sorted, because the order in which methods are named must not change the search space.
    return [sorted(group, key=lambda cell: cell.method) for group in by_key.values()]


def check_joint(cells: Sequence[Cell], tune: TuneConfig) -> None:
    """Refuse a budget that would leave methods untried.

    Raises:
        HarnessError: `tune.trials` is too small; says how many trials are needed.
    """
    most = max(len(group) for group in groups(cells))
    if tune.mode == "joint" and tune.trials is not None and tune.trials < most:
        raise HarnessError(
            f"tune.mode=joint with tune.trials={tune.trials} would not try each of {most} methods once: the budget is "
            f"that of all methods of a task and model together. Give it tune.trials={3 * most} or so, at least {most}."
        )


def make_trials(
    prepared: Sequence[PreparedCell],
    tune: TuneConfig,
    name: str,
    storage: BaseStorage,
    warm: Mapping[str, Sequence[dict[str, Any]]],
    given_up: Mapping[str, Callable[[], bool]] | None = None,
) -> dict[str, TrialSource]:
    """Make the Optuna studies of all cells.

    Args:
        prepared: the cells.
        tune: how they are tuned.
        name: of the study.
        storage: of the trials.
        warm: the configurations that each cell tries after the default, in sampled form, by cell.
        given_up: by cell, returns whether it was given up; a joint study then tries other methods.

    Returns:
        The trials of each cell: in an Optuna study of its own, or in a joint study.
    """
    cells = [each.cell for each in prepared]
    by_id = {each.cell.id: each for each in prepared}
    defaults = {cell.id: [] if (default := cell.defaults()) is None else [default] for cell in cells}
    first = {cell.id: [*defaults[cell.id], *warm.get(cell.id, ())] for cell in cells}
    if tune.mode == "fair":
        return {
            cell.id: SingleCellTrials(
                f"{name}/{cell.id}",
                cell.space,
                tune,
                cell.maximize,
                first[cell.id],
                storage,
                rungs_of([by_id[cell.id]], tune),
            )
            for cell in cells
        }
    trials: dict[str, TrialSource] = {}
    for group in groups(cells):
        rungs = rungs_of([by_id[cell.id] for cell in group], tune)
        axes = "".join(f".{key.rpartition('.')[2]}-{value}" for key, value in group[0].variant.items())
        joint = JointTrials(
            f"{name}/{group[0].task}.{group[0].model}{axes}",
            group,
            tune,
            [first[cell.id] for cell in group],
            storage,
            rungs,
            {cell.method: given_up[cell.id] for cell in group} if given_up is not None else None,
        )
        trials |= {cell.id: MethodTrials(joint, cell) for cell in group}
    return trials
