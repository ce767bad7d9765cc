"""Every pair of cells: the difference of their test scores, and whether it is significant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.report.figures.base import BLUE, INK, ORANGE, RULE, WIDTH, Drawing, Subject, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.statistics.comparison import Difference

_MOST = 25  # maximum cells; more squares cannot be distinguished
_TEXT = 12  # maximum cells with room for numbers


def pairs(subject: Subject) -> Drawing | None:
    """Draw the comparison of a group's cells; None without one."""
    if subject.question.comparison is None:
        return None
    compared, shown = subject.question.compared, {id(row) for row in subject.rows}
    judged = [place for place, row in enumerate(compared) if id(row) in shown]
    count = min(len(judged), _MOST)
    if count < 2:
        return None
    rows = [compared[place] for place in judged[:count]]
    table = [[subject.question.comparison.differences[a][b] for b in judged[:count]] for a in judged[:count]]
    entries = [
        (x, y, entry, entry.low > 0 or entry.high < 0)
        for y, line in enumerate(table)
        for x, entry in enumerate(line)
        if entry is not None
    ]

    def plot(figure: Figure) -> None:
        side = 0.42 if count <= _TEXT else 0.26
        figure.set_size_inches(WIDTH, 1.5 + side * count)
        axes = figure.add_subplot()
        _squares(axes, entries)
        if count <= _TEXT:
            for x, y, entry, sure in entries:
                text = _written(subject, entry.mean)
                weight = "bold" if sure else "normal"
                axes.text(x, y, text, ha="center", va="center", fontsize=9, fontweight=weight, color=INK)
        else:
            for marker, sign in (("+", 1), ("_", -1)):
                places = [(x, y) for x, y, entry, sure in entries if sure and sign * entry.mean > 0]
                axes.scatter([x for x, _ in places], [y for _, y in places], marker=marker, color=INK, s=30, lw=1.2)
        labels = [subject.label(row, 22) for row in rows]
        axes.set_xticks(range(count), labels, rotation=90)
        axes.set_yticks(range(count), labels)
        axes.tick_params(labelsize=10 if count <= _TEXT else 9)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.spines["bottom"].set_visible(False)

    unit = ", points" if subject.shown(1.0) == 100 else ""
    caption = f"{subject.where}: how much better the row's mean test score is than the column's{unit}. "
    caption += "Filled: the difference is more than chance allows, all pairs counted"
    caption += " (bold, blue: better, orange: worse)." if count <= _TEXT else " (+ better, - worse)."
    if len(judged) > count:
        caption += f" The {count} best of {len(judged)} are shown."
    return render(f"pairs-{subject.slug}", plot, caption)


def _squares(axes: Axes, entries: list[tuple[int, int, Difference, bool]]) -> None:
    """Fill the squares of significant differences, larger ones more opaque, and outline the others."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    largest = max((abs(entry.mean) for _, _, entry, _ in entries), default=0.0) or 1.0
    sure = [
        # Translucent, so that text stays readable on light and on dark pages.
        Rectangle(
            (x - 0.47, y - 0.47), 0.94, 0.94, facecolor=BLUE if entry.mean > 0 else ORANGE, lw=0,
            alpha=0.25 + 0.45 * math.sqrt(abs(entry.mean) / largest),
        )
        for x, y, entry, filled in entries if filled
    ]  # fmt: skip
    open_ = [Rectangle((x - 0.46, y - 0.46), 0.92, 0.92) for x, y, _, filled in entries if not filled]
    axes.add_collection(PatchCollection(sure, match_original=True))
    axes.add_collection(PatchCollection(open_, facecolor="none", edgecolor=RULE, lw=0.6))


def _written(subject: Subject, mean: float) -> str:
    """Format a difference with its sign, as short as a square needs."""
    value = subject.shown(mean)
    if abs(value) < 0.05 and subject.shown(1.0) != 1.0:
        return "0.0"
    if subject.shown(1.0) == 1.0:
        return f"{value:+.2g}"
    return f"{value:+.1f}" if abs(value) < 9.95 else f"{value:+.0f}"
