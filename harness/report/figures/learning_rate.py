"""Sensitivity: validation score of every trial against its learning rate, one panel per cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.records.states import Phase, RunStatus
from harness.report.cells.cell_summary import CellSummary, number
from harness.report.figures.axes import Range, focus
from harness.report.figures.base import INK, WIDTH, Drawing, Subject, capped, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEY = "train.lr"
_FEWEST = 3  # minimum trials for a panel to show any sensitivity
_PANELS = 9
_COLUMNS = 3
Points = list[tuple[float, float | None]]  # (learning rate, score; None for a trial without one)


def rate(subject: Subject) -> Drawing | None:
    """Draw score against learning rate; None if it was not tuned in any cell."""
    points = {id(row): _points(row) for row in subject.rows}
    rows, note = capped([row for row in subject.rows if len(points[id(row)]) >= _FEWEST], _PANELS)
    if not rows:
        return None
    scores = [subject.shown(value) for row in rows for _, value in points[id(row)] if value is not None]
    if not scores:
        return None
    shown = focus(scores, rows[0].minimize)
    lost = any(value is None or shown.leaves_out(subject.shown(value)) for row in rows for _, value in points[id(row)])
    columns = min(_COLUMNS, len(rows))
    lines = math.ceil(len(rows) / columns)

    def plot(figure: Figure) -> None:
        from matplotlib.ticker import LogLocator

        height = 0.9 + (1.7 if columns > 1 else 2.6) * lines
        figure.set_size_inches(WIDTH, height)
        # Panels of equal size need no layout engine, which takes longer than the drawing itself.
        figure.set_layout_engine("none")
        grid = figure.subplots(
            lines, columns, sharex=True, sharey=True, squeeze=False,
            gridspec_kw={
                "left": 0.62 / WIDTH, "right": 1 - 0.15 / WIDTH, "bottom": 0.55 / height, "top": 1 - 0.3 / height,
                "wspace": 0.25, "hspace": 0.4,
            },
        )  # fmt: skip
        panels = [axes for line in grid for axes in line]
        for axes, row in zip(panels, rows, strict=False):
            _panel(axes, subject, row, points[id(row)], shown)
        for axes in panels[len(rows) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(rows) - columns) : len(rows)]:
            axes.tick_params(labelbottom=True)
        panels[0].set_ylim(shown.low, shown.high)
        panels[0].set_xscale("log")
        low, high = panels[0].get_xlim()
        decades = math.log10(high / low)
        panels[0].xaxis.set_major_locator(LogLocator(subs=(1, 3) if decades < 1.5 else (1,), numticks=99))
        panels[0].xaxis.set_major_formatter(lambda value, _: _written(value, decades < 4))
        panels[0].xaxis.set_minor_formatter(lambda *_: "")
        figure.supxlabel("learning rate", fontsize=11, y=0.04 / height, va="bottom")
        figure.supylabel(subject.axis("validation"), fontsize=11, x=0.02 / WIDTH, ha="left")

    caption = f"{subject.where}: validation score of every trial by its learning rate."
    if lost:
        caption += " Crosses: trials without a score (failed, pruned), or with one beyond the axis."
    return render(f"rate-{subject.slug}", plot, caption + note)


def _panel(axes: Axes, subject: Subject, row: CellSummary, trials: Points, shown: Range) -> None:
    color, marker = subject.look(row)
    points = [(x, subject.shown(value)) for x, value in trials if value is not None]
    axes.scatter([x for x, _ in points], [y for _, y in points], color=color, marker=marker, s=22, lw=0, zorder=3)
    crosses = [x for x, value in trials if value is None or shown.leaves_out(subject.shown(value))]
    low, high = shown.low, shown.high
    foot = high - 0.04 * (high - low) if row.minimize else low + 0.04 * (high - low)
    axes.plot(crosses, [foot] * len(crosses), "x", color=INK, ms=5, zorder=4)
    axes.set_title(subject.label(row, 20), fontsize=10)
    axes.tick_params(labelsize=9)
    axes.grid()


def _written(rate: float, every: bool) -> str:
    """Format a learning rate; on a long axis only every other power of ten, so that labels do not overlap."""
    exponent = math.floor(math.log10(rate) + 1e-9)
    digit = round(rate / 10**exponent)
    return f"{digit}e{exponent}" if every or exponent % 2 else ""


def _points(row: CellSummary) -> Points:
    points: Points = []
    for run in row.cell.runs:
        if run.phase != Phase.TUNE or run.status == RunStatus.RUNNING:
            continue
        value = number(run.record.hyperparameters.get(_KEY))
        if value is not None and value > 0:
            points.append((value, run.metric("val", row.cell.metric) if run.status == RunStatus.OK else None))
    return points
