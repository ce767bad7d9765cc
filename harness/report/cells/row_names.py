"""Display names, scores and statuses of cells."""

from __future__ import annotations

from collections.abc import Sequence

from harness.formatting.escape import plain
from harness.formatting.values import percent, plural, score, settings
from harness.records.states import CellOutcome, RunStatus
from harness.report.cells.cell_summary import CellSummary


def mean_and_spread(row: CellSummary, unit: bool = False) -> str:
    """Format a cell's test score with its standard deviation over seeds, `86.5 ± 0.4`; "" without a test score."""
    mean = score(row.test_mean, row.cell.metric)
    if not mean:
        return ""
    spread = f" ± {score(row.test_std, row.cell.metric)}" if row.test_std is not None else ""
    return f"{mean}{spread}{' %' if unit and percent(row.cell.metric) else ''}"


def name(row: CellSummary, among: Sequence[CellSummary]) -> str:
    """Name a cell by what distinguishes it from others: the method, and model, task or axes if these differ."""
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


def margin(value: float, rows: Sequence[CellSummary]) -> str:
    """Format a margin in the unit of the cells' metric: `1 point`, or a plain number."""
    if rows and all(percent(row.cell.metric) for row in rows):
        return f"{100 * value:.3g} point{'' if value == 0.01 else 's'}"
    return f"{value:.3g}"


def status(row: CellSummary) -> str:
    """Describe a cell's status, with the numbers of running, stopped and failed runs."""
    halted = stopped(row)
    going = [f"{number} {word}" for number, word in ((row.running - halted, "running"), (halted, "stopped")) if number]
    parts = going or [row.status]
    if row.failed and row.status != CellOutcome.FAILED:
        parts.append(f"{plural(row.failed, 'run')} failed")
    return "; ".join(parts)


def stopped(row: CellSummary) -> int:
    """Count runs stopped by a budget: their records have status `running` and an error that says why."""
    return sum(bool(run.record.error) for run in row.cell.runs if run.status == RunStatus.RUNNING) if row.running else 0


def state(row: CellSummary) -> str:
    """Return a cell's status, or `stopped` if all its running runs were stopped."""
    return "stopped" if row.status == CellOutcome.RUNNING and stopped(row) == row.running else row.status


def outcome(row: CellSummary) -> str:
    """Describe a cell's status; if it failed, with the reason."""
    return f"failed: {plain(row.error or 'no message', 200)}" if row.status == CellOutcome.FAILED else status(row)


def study(row: CellSummary) -> str:
    """Return the name of a cell's study; "" if neither its axes nor its runs give one."""
    given = row.cell.variant.get("study")
    return str(given) if given else next((run.record.study for run in row.cell.runs), "")


def identity(row: CellSummary) -> str:
    """Identify a method across tasks: method, model, and the axes that are not the task's."""
    axes = {key: value for key, value in row.cell.variant.items() if not key.startswith("task.")}
    return " ".join(filter(None, (row.cell.method or row.cell.id, row.cell.model, settings(axes))))
