"""The order of trials, and the costs that a search uses besides the metric: as objectives or as constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def searched_costs(tune: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the costs that a search uses, from the `tune` section of a resolved configuration."""
    limits = tune.get("constraints") or {}
    return (*(tune.get("objectives") or ()), *(cost for cost, limit in limits.items() if limit is not None))


def rank(value: float, loss: float | None, trial: int, minimize: bool) -> tuple[float, float, int]:
    """Return a sort key; the best trial has the smallest: by metric, then validation loss, then trial number.

    Args:
        value, loss: metric and loss on the validation split.
        trial: number of the trial.
        minimise: whether a smaller metric is better.
    """
    return value if minimize else -value, math.inf if loss is None else loss, trial
