"""Which trial is the best, and costs that tuning can go by besides the metric: as objectives, or as limits to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from harness.errors import Problems

if TYPE_CHECKING:
    from harness.config import TuneConfig


@dataclass
class LimitsConfig:
    """Largest allowed costs of a configuration; null sets no limit."""

    latency_p50_seconds: float | None = None
    latency_p95_seconds: float | None = None
    params_trainable: float | None = None
    peak_memory_mb: float | None = None
    saved_bytes: float | None = None
    total_seconds: float | None = None
    train_seconds: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """The limits that are set."""
        return {cost: limit for cost, limit in vars(self).items() if limit is not None}


# Costs that tuning can measure; less is better. Latency only where it goes by it, memory where a run is alone.
TUNED_COSTS = tuple(field.name for field in fields(LimitsConfig))


def keeps(cost: Mapping[str, Any], limits: Mapping[str, float]) -> bool:
    """Whether a run with the costs of its record keeps `tune.constraints`; a cost that is not known does not."""
    return all((known := cost.get(key)) is not None and known <= limit for key, limit in limits.items())


def searched(tune: Mapping[str, Any]) -> tuple[str, ...]:
    """Costs that a search goes by, from the `tune` section of a resolved configuration."""
    limits = tune.get("constraints") or {}
    return (*(tune.get("objectives") or ()), *(cost for cost, limit in limits.items() if limit is not None))


def rank(value: float, loss: float | None, trial: int, minimise: bool) -> tuple[float, float, int]:
    """What the best trial has the least of: the metric decides, of equals the lower validation loss, then the number.

    Args:
        value, loss: of the validation rows.
        trial: its number.
        minimise: whether less of the metric is better.
    """
    return value if minimise else -value, math.inf if loss is None else loss, trial


def check_search(tune: TuneConfig, problems: Problems) -> None:
    """Note what the search cannot go by, or not together."""
    for cost in tune.objectives:
        problems.check(
            cost in TUNED_COSTS, f"tune.objectives: {cost} is not measured in tuning. Known: {', '.join(TUNED_COSTS)}."
        )
    problems.check(
        len({*tune.objectives}) == len(tune.objectives),
        f"tune.objectives={list(tune.objectives)}: name each cost once.",
    )
    for cost in TUNED_COSTS:
        limit = getattr(tune.constraints, cost)
        problems.check(limit is None or limit > 0, f"tune.constraints.{cost} must be above 0, not {limit}.")
    problems.check(
        not tune.objectives or tune.pruner == "none",
        f"tune.pruner={tune.pruner} compares one curve, and tune.objectives={list(tune.objectives)} asks for several "
        "objectives at once: set tune.pruner=none, or give a limit instead ('tune.constraints={<cost>:<limit>}').",
    )
    problems.check(
        tune.mode == "fair" or tune.sampler in ("tpe", "random"),
        f"tune.sampler={tune.sampler} cannot search several methods' spaces at once: with tune.mode=joint use tpe or "
        "random.",
    )
    problems.check(
        tune.pruner != "asha" or tune.sampler not in ("gp", "nsga2"),
        f"tune.sampler={tune.sampler} learns only from trials that were finished. With tune.pruner=asha few are, so it "
        "would draw at random. Use tpe, which learns from paused trials, too, or random, qmc or grid, which learn from "
        "none; or set tune.pruner=median or none.",
    )
