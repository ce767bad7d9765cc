"""Human-readable numbers, durations and names."""

from harness.formatting.values import (
    cost,
    cost_name,
    count,
    dollars,
    duration,
    energy,
    listed,
    memory,
    metric_name,
    percent,
    plural,
    score,
    setting,
    settings,
    signed,
    size,
)

__all__ = [
    "percent",
    "metric_name",
    "score",
    "signed",
    "duration",
    "count",
    "memory",
    "cost_name",
    "cost",
    "size",
    "dollars",
    "energy",
    "setting",
    "settings",
    "listed",
    "plural",
]
