"""Numbers and names as people read them: percentages, durations, counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.metrics import METRICS
from harness.report.escape import plain
from harness.report.rows import Row

_PLAIN = "{:.3f}"  # how a metric is written that this version does not know


def percent(metric: str) -> bool:
    """Tell whether a metric is a fraction that pages write as a percentage."""
    return metric in METRICS and METRICS[metric].format.endswith("%}")


def metric_name(metric: str) -> str:
    """Write a metric's name as a word: `macro_f1` -> `macro F1`."""
    return metric.replace("_f1", " F1").replace("_", " ") if metric not in ("mcc", "auroc", "ece") else metric.upper()


def score(value: float | None, metric: str, unit: bool = False) -> str:
    """Write a metric, `86.5` or with its unit `86.5 %`; "" if it is not known."""
    if value is None:
        return ""
    if not percent(metric):
        return (METRICS[metric].format if metric in METRICS else _PLAIN).format(value)
    return f"{100 * value:.1f}{' %' if unit else ''}"


def mean_and_spread(row: Row, unit: bool = False) -> str:
    """Write a row's test score with its standard deviation over seeds, `86.5 ± 0.4`; "" without a test score."""
    mean = score(row.test_mean, row.cell.metric)
    if not mean:
        return ""
    spread = f" ± {score(row.test_std, row.cell.metric)}" if row.test_std is not None else ""
    return f"{mean}{spread}{' %' if unit and percent(row.cell.metric) else ''}"


def duration(seconds: float | None) -> str:
    """Write a duration with two to three digits: `0.42 s`, `24 s`, `9.1 min`, `3.4 h`."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.005:
        return "<0.01 s"
    value, unit = seconds, "s"
    if seconds >= 7200:
        value, unit = seconds / 3600, "h"
    elif seconds >= 120:
        value, unit = seconds / 60, "min"
    digits = 0 if value >= 10 or not value else 1 if value >= 1 else 2
    return f"{value:.{digits}f} {unit}"


def count(number: float | None) -> str:
    """Write a large count with a prefix: `985`, `296 k`, `22.7 M`."""
    if number is None:
        return ""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            value = number / size
            return f"{value:.{0 if value >= 100 else 1}f}{prefix}"
    return f"{number:.0f}"


def memory(megabytes: float | None) -> str:
    """Write memory: `640 MB`, `1.6 GB`."""
    if megabytes is None:
        return ""
    if megabytes >= 1000:
        return f"{megabytes / 1000:.1f} GB"
    return f"{megabytes:.{0 if megabytes >= 10 or not megabytes else 1}f} MB"


def setting(value: Any) -> str:
    """Write a hyperparameter's value: numbers short, the rest as JSON or as it is."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def settings(values: Mapping[str, Any], separator: str = ", ") -> str:
    """Write hyperparameters or axes: `train.lr=0.000314, train.epochs=3`."""
    return separator.join(f"{key}={setting(value)}" for key, value in values.items())


def name(row: Row, among: Sequence[Row]) -> str:
    """Name a row among others by what tells it from them: the method, and model, task or axes where they differ."""
    cell = row.cell
    parts = [cell.method or cell.id]
    if len({other.cell.model for other in among}) > 1 and cell.model:
        parts.append(f"on {cell.model}")
    if len({other.cell.task for other in among}) > 1 and cell.task:
        parts.append(f"for {cell.task}")
    axes = {key: value for key, value in cell.variant.items() if len({str(o.cell.variant.get(key)) for o in among}) > 1}
    if axes:
        parts.append(f"({settings(axes)})")
    return " ".join(plain(part, 60) for part in parts)


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Join names to a phrase: `a, b and c`; beyond the limit the rest is counted."""
    if len(names) > limit:
        return f"{', '.join(names[: limit - 1])} and {len(names) - limit + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def plural(number: int, noun: str) -> str:
    """Count a noun: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
