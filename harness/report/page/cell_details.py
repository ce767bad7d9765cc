"""Details of one cell on the page: metrics, costs of a run, provenance, and the course of its tuning."""

from __future__ import annotations

from typing import Any

from harness import formatting
from harness.records.states import Phase, RunStatus
from harness.report.cells.cell_summary import CellSummary, mean_std, metric, number
from harness.report.reading.study import flat

WIDTH, HEIGHT = 320.0, 72.0  # size of the tuning trace, in SVG user units
DOTS = 1000  # maximum number of dots in a trace; more would hide each other

LOOKED_AT = 100  # runs whose provenance is shown for a cell without confirmed runs


def trace(row: CellSummary) -> dict[str, Any] | None:
    """Lay out validation scores by trial in a box; None if there are fewer than two.

    Returns:
        `dots` [x, y, trial, score, status], one per trial; `line`, the points of the best score so far; `low` and
        `high`, the scores at the lower and upper edge, as text.
    """
    name = row.cell.metric
    scored = [
        (run.trial, value, run.status)
        for run in row.cell.runs
        if run.phase == Phase.TUNE and run.trial is not None and (value := run.metric("val", name)) is not None
    ]
    if len(scored) < 2:
        return None
    values = [value for _, value, _ in scored]
    low, high, last = min(values), max(values), max(trial for trial, _, _ in scored)

    def place(trial: int, value: float) -> tuple[float, float]:
        x = WIDTH * (trial / last if last else 0.5)
        y = HEIGHT * (1 - ((value - low) / (high - low) if high > low else 0.5))
        return round(x, 1), round(y, 1)

    line: list[tuple[float, float]] = []
    leader: float | None = None
    for trial, value, ended in scored:
        if ended == RunStatus.OK and (leader is None or row.better(value) > row.better(leader)):
            if leader is not None:
                line.append(place(trial, leader))
            leader = value
            line.append(place(trial, leader))
    if leader is not None:
        line.append(place(last, leader))
    step = -(-len(scored) // DOTS)
    return {
        "dots": [(*place(t, v), t, formatting.score(v, name, unit=True), status) for t, v, status in scored[::step]],
        "line": " ".join(f"{x},{y}" for x, y in line),
        "low": formatting.score(low, name, unit=True),
        "high": formatting.score(high, name, unit=True),
    }


def metrics(row: CellSummary) -> list[tuple[str, str, str]]:
    """Return every metric of a cell: name, validation (of the best trial), test (mean and spread over seeds)."""
    names = dict.fromkeys(
        name
        for record in (*row.evaluated, *([row.best_trial] if row.best_trial else []))
        for split in ("test", "val")
        for name in record.metrics.get(split, {})
    )
    found = []
    for name in names:
        mean, std = mean_std(value for record in row.evaluated if (value := metric(record, "test", name)) is not None)
        test = formatting.score(mean, name) + (f" ± {formatting.score(std, name)}" if std is not None else "")
        val = metric(row.best_trial, "val", name) if row.best_trial else None
        if val is not None or test:
            unit = ", %" if formatting.percent(name) else ""
            found.append((f"{formatting.metric_name(name)}{unit}", formatting.score(val, name), test))
    return found


def costs(row: CellSummary) -> list[tuple[str, str]]:
    """Return the costs of a confirmed run: means over the confirmed runs, else those of the best trial."""
    records = row.evaluated or ((row.best_trial,) if row.best_trial else ())
    found = []
    for key in dict.fromkeys(key for record in records for key in record.cost):
        mean, _ = mean_std(value for record in records if (value := number(record.cost.get(key))) is not None)
        if mean is not None:
            found.append((formatting.cost_name(key), formatting.cost(key, mean)))
        elif records[0].cost.get(key) is not None:
            found.append((formatting.cost_name(key), formatting.setting(records[0].cost.get(key))))
    return found


def provenance(row: CellSummary) -> list[tuple[str, str]]:
    """Return where and with what a cell's runs were made; a key that differs between runs lists all its values."""
    values: dict[str, dict[str, None]] = {}
    for record in row.evaluated or [run.record for run in row.cell.runs[:LOOKED_AT]]:
        for key, value in flat({str(key): value for key, value in record.provenance.items()}).items():
            values.setdefault(key, {})[formatting.setting(value)] = None
    return [(key, formatting.listed(list(seen), 4)) for key, seen in values.items()]
