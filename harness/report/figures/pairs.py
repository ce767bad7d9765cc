"""Every pair of cells: the difference of their test scores, and whether it is more than chance allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.figures.base import BLUE, INK, ORANGE, RULE, WIDTH, Drawing, Subject, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 25  # cells whose squares can be told apart
_TEXT = 12  # cells whose differences can be written


def pairs(subject: Subject) -> Drawing | None:
    """Draw the comparison of a question's cells; None without one."""
    from matplotlib.patches import Rectangle

    if subject.question.comparison is None:
        return None
    compared, shown = subject.question.compared, {id(row) for row in subject.rows}
    judged = [place for place, row in enumerate(compared) if id(row) in shown]
    count = min(len(judged), _MOST)
    if count < 2:
        return None
    rows = [compared[place] for place in judged[:count]]
    table = [[subject.question.comparison.differences[a][b] for b in judged[:count]] for a in judged[:count]]
    known = [table[i][j] for i in range(count) for j in range(count) if i != j]
    largest = max((abs(subject.shown(entry.mean)) for entry in known if entry is not None), default=0.0) or 1.0

    def plot(figure: Figure) -> None:
        side = 0.42 if count <= _TEXT else 0.26
        figure.set_size_inches(WIDTH, 1.5 + side * count)
        axes = figure.add_subplot()
        for y in range(count):
            for x in range(count):
                entry = table[y][x]
                if x == y or entry is None:
                    continue
                sure = entry.low > 0 or entry.high < 0
                value = subject.shown(entry.mean)
                color = BLUE if entry.mean > 0 else ORANGE
                if sure:
                    alpha = 0.25 + 0.45 * min(1.0, abs(value) / largest)
                    axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=color, alpha=alpha, lw=0))
                else:
                    axes.add_patch(
                        Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor="none", edgecolor=RULE, lw=0.6)
                    )
                sign = "+" if value > 0 else "-" if value < 0 else ""
                digits = 1 if abs(value) < 9.95 or subject.shown(1.0) == 1.0 else 0
                text = f"{sign}{abs(value):.{digits}f}" if count <= _TEXT else sign if sure else ""
                weight = "bold" if sure else "normal"
                axes.text(x, y, text, ha="center", va="center", fontsize=9, fontweight=weight, color=INK)
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
