"""What the user is told of runs that ended or are paused."""

from __future__ import annotations

from harness.formatting.values import duration, metric_name, score
from harness.records.record import Record
from harness.records.run_spec import RunSpec
from harness.records.states import Phase, RunStatus


def run_name(spec: RunSpec) -> str:
    """Return a run's name for people: its cell, and its trial or seed."""
    what = f"trial {spec.trial}" if spec.phase == Phase.TUNE else f"confirmation, seed {spec.config['seed']}"
    return f"{spec.cell} {what}"


def run_message(spec: RunSpec, record: Record, metric: str) -> tuple[str, str]:
    """Return the line about a run that ended or is paused, and its style.

    Args:
        spec: the run.
        record: its record.
        metric: the metric that selects.
    """
    paused = record.status == RunStatus.RUNNING
    parts = [f"{run_name(spec)}: {f'paused at {spec.until} {spec.resource}' if paused else record.status}"]
    for split in ("val", "test"):
        value = record.metrics[split].get(metric)
        if value is not None:
            parts.append(f"{split} {metric_name(metric)} {score(value, metric, unit=True)}")
    if (seconds := record.cost.get("total_seconds")) is not None:
        parts.append(duration(seconds))
    if record.error:
        parts.append(record.error)
    style = {RunStatus.OK: "", RunStatus.PRUNED: "dim", RunStatus.RUNNING: "dim"}.get(record.status, "red")
    return ", ".join(parts), style
