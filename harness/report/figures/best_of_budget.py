"""Best of a budget: expected best validation score against the number of trials, or against what they spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.formatting.values import duration
from harness.records.files import read_jsonl
from harness.records.record import PAUSED
from harness.records.states import Phase, RunStatus
from harness.report.cells.cell_summary import CellSummary, facts, number
from harness.report.figures.axes import around, beyond, focus, legend, log_axis, whole_numbers
from harness.report.figures.base import BRIGHT, RULE, Drawing, Subject, capped, render
from harness.report.reading.runs import Run
from harness.statistics.best_of_budget import Curve, best_by_resource, expected_best, running_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BANDS = 3  # maximum methods drawn with bands and observed curves; more make the lines unreadable


@dataclass(frozen=True)
class _Kind:
    """What a budget is counted in.

    Attributes:
        name: start of the figure's name.
        unit: in the caption.
        axis: label of the axis.
    """

    name: str
    unit: str
    axis: str


_TRIALS = _Kind("trials", "so many trials", "trials, those that failed included")
_EPOCHS = _Kind("epochs", "so many epochs in all trials together", "epochs trained in all trials")
_SECONDS = _Kind("seconds", "so many seconds", "time spent on tuning")


@dataclass(frozen=True)
class _Tuning:
    """The trials of a cell, in their order.

    Attributes:
        scores: oriented so that higher is better; None for a trial that returned nothing.
        epochs, seconds: what each trial spent; None if unknown.
        floor: what a trial is worth that returned nothing, oriented likewise; None: the worst score.
        early: whether a trial was ended or paused before its end.
    """

    row: CellSummary
    scores: list[float | None]
    epochs: list[float | None]
    seconds: list[float | None]
    floor: float | None
    early: bool

    def amounts(self, kind: _Kind) -> list[float | None]:
        return self.epochs if kind is _EPOCHS else self.seconds

    def curves(self, kind: _Kind, level: float) -> tuple[Curve, Curve] | None:
        """Return the expected and the observed curve; None if there is nothing to draw.

        Args:
            kind: what the budget counts.
            level: confidence of the band.
        """
        if kind is _TRIALS:
            expected, observed = expected_best(self.scores, self.floor, level), running_best(self.scores)
        else:
            spent = self.amounts(kind)
            expected = best_by_resource(self.scores, spent, self.floor, level)
            observed = running_best(self.scores, spent)
        return None if expected is None or observed is None else (expected, observed)


def budget(subject: Subject) -> list[Drawing]:
    """Draw best-of-budget curves of the tuned cells: against trials and seconds.

    If trials were ended early, their number says little of what was spent, so epochs take its place.
    """
    rows, note = capped([row for row in subject.rows if row.trials])
    early = any(_early(run) for row in rows for run in row.cell.runs)
    tunings = [_tuning(row, early) for row in rows]
    if not any(len(each.scores) > 1 for each in tunings):
        return []
    drawings = [_render(subject, tunings, kind, note) for kind in (_EPOCHS if early else _TRIALS, _SECONDS)]
    return [drawing for drawing in drawings if drawing is not None]


def _tuning(row: CellSummary, epochs: bool) -> _Tuning:
    """Collect the trials of a cell; their epochs only if asked, since each is in a file of its own."""
    tuned = [run for run in row.cell.runs if run.phase == Phase.TUNE]
    trials = [run for run in tuned if run.status != RunStatus.RUNNING or _paused(run)]
    trials.sort(key=lambda run: (run.trial is None, run.trial))
    lines = [read_jsonl(run.paths.metrics) if epochs else [] for run in trials]
    floor = _floor(row)
    return _Tuning(
        row=row,
        scores=[_reached(row, run, each) for run, each in zip(trials, lines, strict=True)],
        # A trial that wrote no epoch spent none, unless no trial's epochs were kept.
        epochs=[number(each[-1].get("epoch")) if each else 0.0 for each in lines]
        if any(lines)
        else [None] * len(lines),
        seconds=[run.cost("total_seconds") for run in trials],
        floor=None if floor is None else row.better(floor),
        early=any(_early(run) for run in trials),
    )


def _early(run: Run) -> bool:
    return run.phase == Phase.TUNE and (run.status == RunStatus.PRUNED or _paused(run))


def _paused(run: Run) -> bool:
    return run.status == RunStatus.RUNNING and run.cost(PAUSED) is not None


def _reached(row: CellSummary, run: Run, lines: Sequence[dict[str, object]]) -> float | None:
    """Return a trial's score, higher is better: of one that was ended early the best that it reached."""
    name = row.cell.metric
    value = run.metric("val", name)
    if run.status == RunStatus.OK or (value is not None and run.status in (RunStatus.PRUNED, RunStatus.RUNNING)):
        return None if value is None else row.better(value)
    if run.status not in (RunStatus.PRUNED, RunStatus.RUNNING):
        return None
    found = [known for line in lines if (known := number(_validation(line).get(name))) is not None]
    return max((row.better(value) for value in found), default=None)


def _validation(line: dict[str, object]) -> dict[str, object]:
    known = line.get("val")
    return known if isinstance(known, dict) else {}


def _floor(row: CellSummary) -> float | None:
    """Return the accuracy of the most frequent class; None for other metrics, or if the records do not tell it."""
    record = row.best_trial or next(iter(row.evaluated), None)
    return number(facts(record).get("majority_test")) if record is not None and row.cell.metric == "accuracy" else None


def _render(subject: Subject, tunings: Sequence[_Tuning], kind: _Kind, note: str) -> Drawing | None:
    known = [(each.row, found) for each in tunings if (found := each.curves(kind, subject.level)) is not None]
    if not known:
        return None
    curves = [(row, expected, observed) for row, (expected, observed) in known]
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
            _line(axes, subject, row, expected, bright=index < BRIGHT, band=few)
            if few:
                values = [subject.shown(row.better(value)) for value in observed.best]
                axes.step(observed.budget, values, where="post", color=subject.look(row)[0], lw=1, ls=":")
        axes.set_ylim(*around(seen))
        if kind is _SECONDS:
            log_axis(axes, duration)
        else:
            whole_numbers(axes)
        axes.grid()
        axes.set_xlabel(kind.axis)
        axes.set_ylabel(f"best {subject.axis('validation')}")
        legend(figure, axes)

    caption = f"{subject.where}: the best validation score to expect from a tuning budget of {kind.unit}, estimated "
    caption += "without bias (Tang et al. 2020) as if trials were drawn at random"
    caption += "; a model-based sampler's later trials are better than its first, so there the curve starts too high."
    if any(None in each.scores for each in tunings):
        worth = "the most frequent class" if any(each.floor is not None for each in tunings) else "the worst trial"
        caption += f" A trial that failed counts as {worth}."
    if any(each.early for each in tunings):
        caption += " A trial that was ended early counts with the best score that it reached and with what it spent."
    if few:
        caption += (
            f" Bands: {subject.confidence}, bootstrap over the trials. Dotted: the best so far, as it was observed."
        )
    if len(inside) > BRIGHT:
        caption += f" In grey: {len(inside) - BRIGHT} more cells."
    return render(f"{kind.name}-{subject.slug}", plot, caption + beyond([subject.label(row) for row in outside]) + note)


def _line(axes: Axes, subject: Subject, row: CellSummary, curve: Curve, bright: bool, band: bool) -> None:
    x = curve.budget
    best, low, high = ([subject.shown(row.better(v)) for v in values] for values in (curve.best, curve.low, curve.high))
    color, marker = subject.look(row) if bright else (RULE, "")
    axes.plot(
        x, best, color=color, marker=marker, markevery=max(1, len(x) // 6), ms=5, lw=1.6 if bright else 0.9,
        label=subject.label(row) if bright else None, zorder=3 if bright else 1,
    )  # fmt: skip
    if band:
        axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)


def _seen(expected: Curve, observed: Curve, band: bool) -> list[float]:
    """Return the values that a figure must show: each curve from a quarter of its budget on."""
    start = len(expected.budget) // 4
    values = [*expected.best[start:], observed.best[-1]]
    return [*values, *expected.low[start:], *expected.high[start:]] if band else values
