"""Learning curves: validation metric by epoch of each cell's best trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.records.files import read_jsonl
from harness.report.cells.cell_summary import CellSummary, number
from harness.report.figures.axes import around, beyond, focus, legend, whole_numbers
from harness.report.figures.base import BRIGHT, RULE, Drawing, Subject, capped, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = list[tuple[int, float]]  # (epoch, metric), as in metrics.jsonl


def learning(subject: Subject) -> Drawing | None:
    """Draw learning curves; None if no run wrote two epochs."""
    rows, note = capped([row for row in subject.rows if row.best_trial is not None or row.evaluated])
    curves = [(row, points) for row in rows if (points := _points(row))]
    if not any(len(points) > 1 for _, points in curves):
        return None
    tops = [subject.shown((min if row.minimize else max)(value for _, value in points)) for row, points in curves]
    shown = focus(tops, rows[0].minimize)
    outside = [subject.label(row) for (row, _), top in zip(curves, tops, strict=True) if shown.leaves_out(top)]
    curves = [curve for curve, top in zip(curves, tops, strict=True) if not shown.leaves_out(top)]
    # The first epoch may be cut off: the later differences between curves matter.
    seen = [subject.shown(value) for _, points in curves for _, value in (points[1:] or points)]

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (row, points) in enumerate(curves):
            bright = index < BRIGHT
            color, marker = subject.look(row) if bright else (RULE, "")
            axes.plot(
                [epoch for epoch, _ in points], [subject.shown(value) for _, value in points], color=color,
                marker=marker, markevery=max(1, len(points) // 6), ms=5, lw=1.6 if bright else 0.9,
                label=subject.label(row) if bright else None, zorder=3 - 0.1 * index if bright else 1,
            )  # fmt: skip
        axes.set_ylim(*around(seen))
        whole_numbers(axes)
        axes.grid()
        axes.set_xlabel("epoch")
        axes.set_ylabel(subject.axis("validation"))
        legend(figure, axes)

    caption = f"{subject.where}: validation score after each epoch of each cell's best trial."
    if len(curves) > BRIGHT:
        caption += f" In grey: {len(curves) - BRIGHT} more cells."
    return render(f"learning-{subject.slug}", plot, caption + beyond(outside) + note)


def _points(row: CellSummary) -> Points:
    """Read the curve of a cell's best trial (without tuning: of its first run); mean over folds, while all have
    data.
    """
    record = row.best_trial or row.evaluated[0]
    alike = (
        run for run in row.cell.runs if (run.phase, run.trial, run.seed) == (record.phase, record.trial, record.seed)
    )
    run = next((run for run in alike if run.record is record), None)
    lines = read_jsonl(run.paths.metrics) if run is not None else []
    folds: dict[Any, dict[int, float]] = {}
    for line in lines:
        epoch, val = number(line.get("epoch")), line.get("val")
        value = number(val.get(row.cell.metric)) if isinstance(val, dict) else None
        if epoch is not None and epoch.is_integer() and value is not None:  # fractions: evaluated within an epoch
            folds.setdefault(line.get("fold", 0), {})[int(epoch)] = value
    if not folds:
        return []
    common = set.intersection(*(set(epochs) for epochs in folds.values()))
    return [(epoch, sum(fold[epoch] for fold in folds.values()) / len(folds)) for epoch in sorted(common)]
