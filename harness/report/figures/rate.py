"""Sensitivity: validation score of every trial against its learning rate, a panel a cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.report.figures.base import INK, WIDTH, Drawing, Subject, capped, focus, log_axis, render
from harness.report.rows import Row, metric, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEY = "train.lr"
_FEWEST = 3  # trials below which a panel shows nothing of sensitivity
_PANELS = 12
_COLUMNS = 3
Points = list[tuple[float, float | None]]  # (learning rate, score; None for a trial without one)


def rate(subject: Subject) -> Drawing | None:
    """Draw score against learning rate; None where no cell's was tuned."""
    found = [row for row in subject.rows if len(_points(row)) >= _FEWEST]
    rows, note = capped(found, _PANELS)
    if not rows:
        return None
    scores = [subject.shown(value) for row in rows for _, value in _points(row) if value is not None]
    if not scores:
        return None
    shown = focus(scores, rows[0].minimise)
    lost = any(value is None or shown.leaves_out(subject.shown(value)) for row in rows for _, value in _points(row))
    columns = min(_COLUMNS, len(rows))
    lines = math.ceil(len(rows) / columns)

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 0.7 + 1.7 * lines if columns > 1 else 3.2)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        panels = [axes for line in grid for axes in line]
        for axes, row in zip(panels, rows, strict=False):
            _panel(axes, subject, row, shown.high if row.minimise else shown.low)
        for axes in panels[len(rows) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(rows) - columns) : len(rows)]:
            axes.tick_params(labelbottom=True)
        panels[0].set_ylim(shown.low, shown.high)
        log_axis(panels[0], lambda value: f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e"))
        figure.supxlabel("learning rate", fontsize=11)
        figure.supylabel(subject.axis("validation"), fontsize=11)

    caption = f"{subject.where}: validation score of every trial by its learning rate; the line joins the medians of "
    caption += "neighbouring trials."
    if lost:
        caption += " Crosses: trials without a score, or with one beyond the axis."
    return render(f"rate-{subject.slug}", plot, caption + note)


def _panel(axes: Axes, subject: Subject, row: Row, edge: float) -> None:
    color, marker = subject.look(row)
    points = sorted((x, subject.shown(value)) for x, value in _points(row) if value is not None)
    low, high = sorted((edge, edge + (1e9 if not row.minimise else -1e9)))
    kept = [(x, y) for x, y in points if low <= y <= high]
    axes.scatter([x for x, _ in kept], [y for _, y in kept], color=color, marker=marker, s=22, lw=0, zorder=3)
    crosses = [x for x, value in _points(row) if value is None or not low <= subject.shown(value) <= high]
    axes.plot(crosses, [edge] * len(crosses), "x", color=INK, ms=6, clip_on=False, zorder=4)
    if len(points) >= 6:
        middles = [sorted(y for _, y in points[max(0, i - 2) : i + 3]) for i in range(len(points))]
        axes.plot([x for x, _ in points], [m[len(m) // 2] for m in middles], color=color, lw=1.2, alpha=0.6)
    axes.set_title(subject.label(row, 20), fontsize=10)
    axes.grid()


def _points(row: Row) -> Points:
    points: Points = []
    for run in row.cell.runs:
        record = run.record
        value = number(record.hyperparameters.get(_KEY))
        if record.phase == "tune" and record.status in ("ok", "failed", "lost") and value is not None and value > 0:
            points.append((value, metric(record, "val", row.cell.metric) if record.status == "ok" else None))
    return points
