"""Compare a study's estimated cost with its actual cost: plan.json and outcome.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import formatting
from harness.records.study_files import StudyPaths
from harness.report.cells.cell_summary import number

# Keys of both files, and their labels.
_LINES = (
    ("wall_seconds", "wall time"), ("run_seconds", "time of all runs"), ("dollars", "dollars"), ("runs", "runs"),
    ("disk_bytes", "disk"), ("peak_memory_mb", "peak memory of a run"),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One cost: estimate, outcome, and the outcome as a multiple of the estimate; "" if unknown."""

    name: str
    estimate: str
    outcome: str
    ratio: str


@dataclass(frozen=True)
class Planned:
    """Estimated and actual cost of a study.

    Attributes:
        ended: how the study ended, in a sentence; "" if unknown.
    """

    lines: list[Line]
    ended: str


def planned(directory: Path) -> Planned | None:
    """Read a study's estimate and outcome; None if neither exists."""
    estimate, outcome = StudyPaths(directory).read_plan(), StudyPaths(directory).read_outcome()
    lines = []
    for key, name in _LINES:
        expected, actual = _value(estimate.get(key)), _value(outcome.get(key))
        if expected is None and actual is None:
            continue
        ratio = f"{actual / expected:.2f}" if expected and actual is not None else ""
        text = formatting.cost(key, expected)
        low, high = number(estimate.get("low")), number(estimate.get("high"))
        if key == "wall_seconds" and text and low is not None and high is not None:
            text += f" ({formatting.duration(low)} to {formatting.duration(high)})"
        lines.append(Line(name, text, formatting.cost(key, actual), ratio))
    ended = _ended(outcome)
    return Planned(lines, ended) if lines or ended else None


def _ended(outcome: Mapping[str, Any]) -> str:
    note = str(outcome.get("note") or "")
    how = outcome.get("ended")
    if how == "budget":
        return note or "The study was stopped by its budget, so some of what was asked is missing."
    if how == "interrupted":
        return "The study was interrupted; the same command goes on with it."
    return note


def _value(value: Any) -> float | None:
    """Return a number; for counts by status, their sum."""
    if isinstance(value, Mapping):
        counts = [known for each in value.values() if (known := number(each)) is not None]
        return sum(counts) if counts else None
    return number(value)
