"""Best of a budget: expected best validation score against number of trials and against seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.formatting.values import duration
from harness.records.states import Phase, RunStatus
from harness.report.analysis.cell_summary import CellSummary
from harness.report.figures.axes import around, beyond, focus, legend, log_axis, whole_numbers
from harness.report.figures.base import BRIGHT, RULE, Drawing, Subject, capped, render
from harness.statistics.best_of_budget import Curve, expected_best, running_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BANDS = 3  # maximum methods drawn with bands and observed curves; more make the lines unreadable


def budget(subject: Subject) -> list[Drawing]:
    """Draw best-of-budget curves of the tuned cells: against trials, and against seconds if known."""
    curves = []
    rows, note = capped([row for row in subject.rows if row.trials])
    for row in rows:
        trials = [run for run in row.cell.runs if run.phase == Phase.TUNE and run.status != RunStatus.RUNNING]
        trials.sort(key=lambda run: (run.trial is None, run.trial))
        scores = [run.metric("val", row.cell.metric) if run.status == RunStatus.OK else None for run in trials]
        oriented = [None if score is None else row.better(score) for score in scores]
        seconds = [run.cost("total_seconds") for run in trials]
        expected, observed = expected_best(oriented, seconds), running_best(oriented, seconds)
        if expected is not None and observed is not None:
            curves.append((row, expected, observed))
    if not any(len(expected.trials) > 1 for _, expected, _ in curves):
        return []
    drawings = [_render(subject, curves, False, note)]
    timed = [curve for curve in curves if curve[1].seconds is not None]
    return [*drawings, _render(subject, timed, True, note)] if timed else drawings


def _render(subject: Subject, curves: list[tuple[CellSummary, Curve, Curve]], by_time: bool, note: str) -> Drawing:
    rows = [row for row, _, _ in curves]
    ends = [subject.shown(row.better(expected.best[-1])) for row, expected, _ in curves]
    shown = focus(ends, rows[0].minimize)
    outside = [row for row, end in zip(rows, ends, strict=True) if shown.leaves_out(end)]
    inside = [curve for curve in curves if not any(curve[0] is row for row in outside)]
    few = len(inside) <= _BANDS
    seen = [
        subject.shown(row.better(value))
        for row, expected, observed in inside
        for value in _seen(expected, observed, few)
    ]

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (row, expected, observed) in enumerate(inside):
            _line(axes, subject, row, expected, by_time, bright=index < BRIGHT, band=few)
            if few:
                values = [subject.shown(row.better(value)) for value in observed.best]
                axes.step(_x(observed, by_time), values, where="post", color=subject.look(row)[0], lw=1, ls=":")
        axes.set_ylim(*around(seen))
        if by_time:
            log_axis(axes, duration)
        else:
            whole_numbers(axes)
        axes.grid()
        axes.set_xlabel("time spent on tuning" if by_time else "trials, those that failed or were pruned included")
        axes.set_ylabel(f"best {subject.axis('validation')}")
        legend(figure, axes)

    caption = f"{subject.where}: the best validation score to expect from a tuning budget of so many "
    caption += "seconds" if by_time else "trials"
    caption += (
        " (Dodge et al. 2019), as if trials were drawn at random; a model-based sampler's later trials are better than "
        "its first, so there the curve starts too high."
    )
    if few:
        caption += " Bands: one standard deviation. Dotted: the best so far, as it was observed."
    if len(inside) > BRIGHT:
        caption += f" In grey: {len(inside) - BRIGHT} more cells."
    name = f"{'seconds' if by_time else 'trials'}-{subject.slug}"
    return render(name, plot, caption + beyond([subject.label(row) for row in outside]) + note)


def _line(
    axes: Axes, subject: Subject, row: CellSummary, curve: Curve, by_time: bool, bright: bool, band: bool
) -> None:  # fmt: skip
    x = _x(curve, by_time)
    best, low, high = ([subject.shown(row.better(v)) for v in values] for values in (curve.best, curve.low, curve.high))
    color, marker = subject.look(row) if bright else (RULE, "")
    axes.plot(
        x, best, color=color, marker=marker, markevery=max(1, len(x) // 6), ms=5, lw=1.6 if bright else 0.9,
        label=subject.label(row) if bright else None, zorder=3 if bright else 1,
    )  # fmt: skip
    if band:
        axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)


def _x(curve: Curve, by_time: bool) -> tuple[float, ...]:
    return (curve.seconds or ()) if by_time else curve.trials


def _seen(expected: Curve, observed: Curve, band: bool) -> list[float]:
    """Return the values that a figure must show: each curve from a quarter of its budget on."""
    start = len(expected.trials) // 4
    values = [*expected.best[start:], observed.best[-1]]
    return [*values, *expected.low[start:], *expected.high[start:]] if band else values
