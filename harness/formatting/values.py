"""Format metrics, costs, durations and sizes as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.api.cost import (
    BYTES,
    COUNT,
    DOLLARS,
    ENDINGS,
    JOULES,
    LATENCY,
    MEGABYTES,
    RATE,
    SECONDS,
    SHARE,
    unit_of,
)  # fmt: skip
from harness.api.family import all_metrics

_MINUS = "\u2212"  # as wide as a plus


_PLAIN = "{:.3f}"  # format of a metric that this version does not know


def percent(metric: str) -> bool:
    """Return whether a metric is a fraction that pages write as a percentage."""
    known = all_metrics().get(metric)
    return known is not None and known.format.endswith("%}")


def metric_name(metric: str) -> str:
    """Format a metric's name for display: `macro_f1` -> `macro F1`."""
    return metric.replace("_f1", " F1").replace("_", " ") if metric not in ("mcc", "auroc", "ece") else metric.upper()


def score(value: float | None, metric: str, unit: bool = False) -> str:
    """Format a metric, `86.5` or with its unit `86.5 %`; "" if it is unknown."""
    if value is None:
        return ""
    if not percent(metric):
        known = all_metrics().get(metric)
        return (_PLAIN if known is None else known.format).format(value)
    return f"{100 * value:.1f}{' %' if unit else ''}"


def signed(value: float | None, metric: str) -> str:
    """Format a difference of two scores with its sign, without a unit: `+0.9`."""
    if value is None:
        return ""
    shown = 100 * value if percent(metric) else value
    text = f"{shown:+.{1 if percent(metric) else 3}f}"
    return text.replace("-", _MINUS) if float(text) else text[1:]


def difference(value: float, metric: str) -> str:
    """Format the size of a difference of two scores with its unit: `1.0 point`, `2.5 points`, `0.010 in loss`."""
    size = score(value, metric)
    if percent(metric):
        return f"{size} {'point' if size == '1.0' else 'points'}"
    return f"{size} in {metric_name(metric)}"


def duration(seconds: float | None) -> str:
    """Format a duration with two to three digits: `0.42 s`, `24 s`, `9.1 min`, `3.4 h`, `2.5 d`."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.005:
        return "<0.01 s"
    value, unit = seconds, "s"
    if seconds >= 48 * 3600:
        value, unit = seconds / 86_400, "d"
    elif seconds >= 7200:
        value, unit = seconds / 3600, "h"
    elif seconds >= 120:
        value, unit = seconds / 60, "min"
    digits = 0 if value >= 10 or not value else 1 if value >= 1 else 2
    return f"{value:.{digits}f} {unit}"


def count(number: float | None) -> str:
    """Format a large count with a prefix: `985`, `296 k`, `22.7 M`."""
    if number is None:
        return ""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            value = number / size
            return f"{value:.{0 if value >= 100 else 1}f}{prefix}"
    return f"{number:.0f}"


def stopwatch(seconds: float) -> str:
    """Format the time that a command has run, as a stamp of the lines that it prints: `3:07`, `2:10:00`."""
    hours, minutes, rest = int(seconds) // 3600, int(seconds) % 3600 // 60, int(seconds) % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def memory(mebibytes: float | None) -> str:
    """Format memory, which machines count in powers of two: `640 MiB`, `1.6 GiB`."""
    if mebibytes is None:
        return ""
    if mebibytes >= 1024:
        return f"{mebibytes / 1024:.{1 if mebibytes < 100 * 1024 else 0}f} GiB"
    return f"{mebibytes:.{0 if mebibytes >= 10 or not mebibytes else 1}f} MiB"


def cost_name(key: str) -> str:
    """Format a cost's name without its unit, which the value shows: `latency_p50_seconds` -> `latency p50`."""
    ending = next((ending for ending in ENDINGS if ending.startswith("_") and key.endswith(ending)), "")
    return key.removesuffix(ending).replace("_", " ") + ("/s" if ending == "_per_second" else "")


def cost(key: str, value: float | None) -> str:
    """Format a cost with its unit: `24 s`, `13 ms`, `708 kB`, `1.6 GB`, `920 J`, `$0.04`."""
    return "" if value is None else _UNITS[unit_of(key)](value)


def latency(seconds: float) -> str:
    """Format a latency: `13 ms`, `1.2 s`."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else duration(seconds)


def share(value: float) -> str:
    """Format a share: `34 %`."""
    return f"{100 * value:.0f} %"


def probability(value: float) -> str:
    """Format a probability in whole percents, never as a certainty: `42 %`, `<1 %`, `>99 %`."""
    if value < 0.01:
        return "<1 %"
    return ">99 %" if value > 0.99 else f"{100 * value:.0f} %"


def _number(value: float) -> str:
    return count(value) if value == int(value) or value >= 1000 else f"{value:.3g}"


def size(number: float | None) -> str:
    """Format a size on disk, in powers of ten: `0 B`, `708 kB`, `91 MB`."""
    if number is None:
        return ""
    for unit, prefix in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:.3g} {prefix}"
    return f"{number:.0f} B"


def dollars(value: float | None) -> str:
    """Format a price, from 10 cents on to the cent, else with two digits: `$3.20`, `$0.0042`, `<$0.0001`."""
    if value is None:
        return ""
    if 0 < value < 1e-4:
        return "<$0.0001"
    return f"${value:,.2f}" if value >= 0.1 or not value else f"${float(f'{value:.2g}'):.10f}".rstrip("0")


def energy(joules: float) -> str:
    """Format energy: `920 J`, `12.3 kJ`, `2.5 kWh`."""
    factor, unit = (3.6e6, "kWh") if joules >= 3.6e6 else (1000, "kJ") if joules >= 1000 else (1, "J")
    return f"{joules / factor:.3g} {unit}"


_UNITS: dict[str, Callable[[float], str]] = {
    SECONDS: duration, LATENCY: latency, BYTES: size, MEGABYTES: memory, JOULES: energy, DOLLARS: dollars,
    COUNT: _number, RATE: _number, SHARE: share,
}  # fmt: skip


def setting(value: Any) -> str:
    """Format a hyperparameter's value: floats with three digits, text unchanged, the rest as JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def settings(values: Mapping[str, Any], separator: str = ", ") -> str:
    """Format hyperparameters or axes: `train.lr=0.000314, train.epochs=3`."""
    return separator.join(f"{key}={setting(value)}" for key, value in values.items())


def listed(names: Sequence[str], limit: int = 6, word: str = "and") -> str:
    """Join names to a phrase: `a, b and c`; names beyond the limit are counted."""
    if len(names) > limit:
        return f"{', '.join(names[: limit - 1])} and {len(names) - limit + 1} more"
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def plural(number: int, noun: str) -> str:
    """Format a count with its noun: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
