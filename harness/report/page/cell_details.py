"""What a page tells of one cell: its metrics, what a run costs, where it was made, and how its tuning went."""

from __future__ import annotations

from typing import Any

from harness import formatting
from harness.report.analysis.cell_summary import CellSummary, mean_std, metric, number
from harness.report.reading.study import flat

WIDTH, HEIGHT = 320.0, 72.0  # of the tuning trace, in user units
DOTS = 1000  # at most drawn in a trace; more hide one another

LOOKED_AT = 100  # runs of a cell that none was confirmed of, whose provenance is told


def trace(row: CellSummary) -> dict[str, Any] | None:
    """Place validation scores by trial in a box; None below two.

    Returns:
        `dots` [x, y, trial, score, status] a trial, `line` the points of the best score so far, `low` and `high` the
        scores at the lower and upper edge, worded.
    """
    name = row.cell.metric
    scored = [
        (run.trial, value, run.status)
        for run in row.cell.runs
        if run.phase == "tune" and run.trial is not None and (value := run.metric("val", name)) is not None
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
        if ended == "ok" and (leader is None or row.better(value) > row.better(leader)):
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
    """Give every metric of a cell: name, validation (of the best trial), test (mean and spread over seeds)."""
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
    """Give what a confirmed run costs: means over the confirmed runs, else of the best trial."""
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
    """Give where and with what a cell's runs were made; a key on which runs differ names all its values."""
    values: dict[str, dict[str, None]] = {}
    for record in row.evaluated or [run.record for run in row.cell.runs[:LOOKED_AT]]:
        for key, value in flat({str(key): value for key, value in record.provenance.items()}).items():
            values.setdefault(key, {})[formatting.setting(value)] = None
    return [(key, formatting.listed(list(seen), 4)) for key, seen in values.items()]
