"""The result of a tuning run that Optuna is told: the metric, further objectives (costs), and constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.api.cost import COSTS
from harness.config.schema import TUNED_COSTS, TuneConfig
from harness.design.prepared_cell import PreparedCell
from harness.errors import HarnessError
from harness.formatting.values import listed
from harness.records.record import Record
from harness.records.states import RunStatus


def check_costs(cells: Sequence[PreparedCell], tune: TuneConfig) -> None:
    """Refuse objectives and constraints on costs that the tuning runs of a cell do not measure.

    Raises:
        HarnessError: names the costs.
    """
    searched = dict.fromkeys((*tune.objectives, *tune.constraints.given))
    for cost in (name for name in searched if COSTS[name].of_data):
        without = [each.cell.id for each in cells if cost not in each.facts.get("costs", ())]
        if without:
            raise HarnessError(
                f"{cost} is not measured in {listed(without)}: {COSTS[cost].about} Name what is to be kept, "
                "task.retain=FILE (docs/usage.md), or leave the cost out of tune.objectives and tune.constraints."
            )
    asked = [cost for cost in (*tune.objectives, *tune.constraints.given) if COSTS[cost].one_model]
    others = [cost for cost in TUNED_COSTS if not COSTS[cost].one_model]
    folded = [each.cell.id for each in cells if each.facts.get("validation") == "kfold"]
    if asked and folded:
        raise HarnessError(
            f"{', '.join(dict.fromkeys(asked))} cannot be measured in tuning with task.validation=kfold "
            f"({folded[0]}): a run that is judged by folds ends with a model a fold, and with none to keep. Set "
            f"task.validation=split or pool, or go by {listed(others, word='or')}."
        )


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        value: the validation metric; None if there is none, or if an objective or constraint was not measured.
        costs: the values of `tune.objectives`.
        excess: by cost of `tune.constraints`, its excess over the limit as a share of the limit; 0 or less satisfies
            the constraint.
    """

    value: float | None
    costs: tuple[float, ...] = ()
    excess: Mapping[str, float] = field(default_factory=dict)


def trial_result(record: Record, metric: str, tune: TuneConfig) -> TrialResult:
    """Read the result of a trial from a record."""
    if record.status != RunStatus.OK or missing(record, tune):
        return TrialResult(None)
    return TrialResult(
        record.metrics["val"].get(metric),
        tuple(float(record.cost[cost]) for cost in tune.objectives),
        {cost: float(record.cost[cost]) / limit - 1 for cost, limit in tune.constraints.given.items()},
    )


def missing(record: Record, tune: TuneConfig) -> list[str]:
    """Return the costs of objectives and constraints that the record does not have."""
    return [
        cost for cost in {**dict.fromkeys(tune.objectives), **tune.constraints.given} if record.cost.get(cost) is None
    ]


def reason_without_selection(records: Sequence[Record], tune: TuneConfig) -> str:
    """Return why none of these `ok` runs can be selected, as the end of a sentence."""
    if unknown := dict.fromkeys(cost for record in records for cost in missing(record, tune)):
        return f"for {', '.join(unknown)} could not be measured (the log of a run says why)."
    least = [
        f"{cost} of {min(float(record.cost[cost]) for record in records):g} at least, allowed are {limit:g}"
        for cost, limit in tune.constraints.given.items()
        if any(float(record.cost[cost]) > limit for record in records)
    ]
    return f"for no configuration keeps tune.constraints: {'; '.join(least)}."
