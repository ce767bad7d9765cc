"""Critical-difference diagram: mean ranks of methods over several comparison groups (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from harness.formatting.values import listed
from harness.report.cells.datasets import by_dataset
from harness.report.cells.row_names import identity
from harness.report.figures.base import INK, MOST, WIDTH, Drawing, Subject, render, short
from harness.statistics.rank_tests import Ranking, rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 0.24  # inches per line of text


def ranks(subjects: Sequence[Subject]) -> Drawing | None:
    """Draw mean ranks; None unless two methods or more have a test score on all of two data sets or more.

    A block is a data set: draws and shots of one task share test rows, so they are averaged first.
    """
    names = short([row for subject in subjects for row in subject.rows])
    scored = [subject for subject in subjects if any(row.test_mean is not None for row in subject.rows)]
    blocks = [[scored[index] for index in block] for block in by_dataset([subject.rows for subject in scored])]
    scores: dict[str, dict[str, float]] = {}
    for block in blocks:
        for method, value in _averaged(block).items():
            scores.setdefault(method, {})[block[0].slug] = value
    whole = [method for method, values in scores.items() if len(values) == len(blocks)]
    if len(blocks) < 2 or len(whole) < 2:
        return None
    found = rank(scores)
    looks = {key: look for subject in subjects for key, look in subject.looks.items()}

    def plot(figure: Figure) -> None:
        shown = found.methods[:MOST]
        lines = (len(shown) + 1) // 2
        bars = [group for group in found.groups if group[0] in shown]
        depth = 1.4 + 0.45 * len(bars) + lines
        figure.set_size_inches(WIDTH, _LINE * (depth + 2.6))
        axes = figure.add_subplot()
        axes.set_axis_off()
        first, last = found.mean_ranks[0], found.mean_ranks[len(shown) - 1]
        _axis(axes, found, first, last)
        for number, group in enumerate(bars):
            ends = [found.mean_ranks[found.methods.index(member)] for member in (group[0], group[-1])]
            y = 0.75 + 0.45 * number
            axes.plot(ends, [y, y], color=INK, lw=3.2, solid_capstyle="round", zorder=3)
        span = max(last - first, 1e-9)
        for index, method in enumerate(shown):
            x, left = found.mean_ranks[index], index < lines
            y = 1.4 + 0.45 * len(bars) + (index if left else len(shown) - 1 - index)
            edge = first - 0.06 * span if left else last + 0.06 * span
            color, marker = looks[method]
            axes.plot([x, x, edge], [0, y, y], color=color, lw=0.9, zorder=2)
            axes.scatter([x], [0], color=color, marker=marker, s=34, lw=0, zorder=4, clip_on=False)
            text = f"{names[method]} {x:.1f}" if left else f"{x:.1f} {names[method]}"
            axes.text(
                edge + (-0.01 if left else 0.01) * span,
                y,
                text,
                ha="right" if left else "left",
                va="center",
                fontsize=10,
            )
        axes.set_ylim(depth, -2.4)

    return render("ranks-tasks", plot, _caption(found, names, len(scored)))


def _averaged(block: Sequence[Subject]) -> dict[str, float]:
    """Return the score of each method on a data set: its mean over the questions that all methods of it have.

    Questions with different metrics have no common scale; their methods are averaged by rank.
    """
    tables = [
        {identity(row): row.better(row.test_mean) for row in subject.rows if row.test_mean is not None}
        for subject in block
    ]
    if len({subject.question.key[2] for subject in block}) > 1:
        tables = [_by_rank(table) for table in tables]
    everywhere = set.intersection(*(set(table) for table in tables))
    return {method: fmean(table[method] for table in tables) for method in tables[0] if method in everywhere}


def _by_rank(table: dict[str, float]) -> dict[str, float]:
    """Return minus the rank of each method, ties at their mean rank."""
    values = list(table.values())
    return {
        method: -sum((other > value) + 0.5 * (other == value) for other in values) for method, value in table.items()
    }


def _axis(axes: Axes, found: Ranking, first: float, last: float) -> None:
    axes.plot([first, last], [0, 0], color=INK, lw=1)
    axes.text(first, -0.75, f"{first:.1f}", ha="center", va="center", fontsize=10)
    axes.text(last, -0.75, f"{last:.1f}", ha="center", va="center", fontsize=10)
    axes.text((first + last) / 2, -0.75, "mean rank, 1 is best", ha="center", va="center", fontsize=10)
    end = first + found.critical_difference
    if end <= last + 0.5 * (last - first):
        axes.plot([first, end], [-1.5, -1.5], color=INK, lw=1.2, marker="|", ms=7)
        axes.text(
            end + 0.03 * (last - first),
            -1.5,
            f"critical difference {found.critical_difference:.2f}",
            va="center",
            fontsize=10,
        )


def _caption(found: Ranking, names: dict[str, str], questions: int) -> str:
    caption = f"Mean ranks over {len(found.tasks)} data sets. "
    if questions > len(found.tasks):
        caption += f"Each has the mean of its questions ({questions} in all), which share test rows. "
    caption += "Methods under one bar cannot be told apart "
    caption += f"(Nemenyi, critical difference {found.critical_difference:.2f} at {found.alpha:.0%}"
    caption += f"; Friedman's test by permutation: p = {found.p:.2g})."
    if len(found.tasks) < 10:
        caption += " With so few data sets little can be told apart by ranks."
    if found.left_out:
        be = "is" if len(found.left_out) == 1 else "are"
        caption += f" {listed([names[method] for method in found.left_out])} {be} left out: not on every data set."
    return caption + (f" The {MOST} best of {len(found.methods)} are shown." if len(found.methods) > MOST else "")
