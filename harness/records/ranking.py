"""Which trial is the best, and costs that tuning can go by besides the metric: as objectives, or as limits to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def satisfies(cost: Mapping[str, Any], limits: Mapping[str, float]) -> bool:
    """Whether a run with the costs of its record keeps `tune.constraints`; a cost that is not known does not."""
    return all((known := cost.get(key)) is not None and known <= limit for key, limit in limits.items())


def searched_costs(tune: Mapping[str, Any]) -> tuple[str, ...]:
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
