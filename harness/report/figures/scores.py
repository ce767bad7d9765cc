"""Test score of every seed, and the mean with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.formatting.values import score
from harness.report.figures.axes import beyond, focus
from harness.report.figures.base import INK, WIDTH, Drawing, Subject, capped, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scores(subject: Subject) -> Drawing | None:
    """Draw the test scores of a group's cells; None without any."""
    rows, note = capped([row for row in subject.rows if row.test_mean is not None])
    if not rows:
        return None
    means = [subject.shown(row.test_mean or 0.0) for row in rows]
    shown = focus(means, rows[0].minimize)
    outside = {id(row): subject.label(row) for row, mean in zip(rows, means, strict=True) if shown.leaves_out(mean)}
    intervals = [subject.interval(row) for row in rows if id(row) not in outside]
    ends = [end for interval in intervals for end in interval or ()]

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 1.0 + (0.34 if len(rows) <= 15 else 0.26) * len(rows))
        axes = figure.add_subplot()
        axes.set_xlim(*shown.with_ends(ends))
        edge = axes.get_xlim()[shown.minimize]
        for index, (row, mean) in enumerate(zip(rows, means, strict=True)):
            y = len(rows) - 1 - index
            color, marker = subject.look(row)
            if id(row) in outside:
                text = score(row.test_mean, row.cell.metric)
                axes.annotate(
                    f"{text} →" if row.minimize else f"← {text}", (edge, y), xytext=(-5 if row.minimize else 5, 0),
                    textcoords="offset points", va="center", ha="right" if row.minimize else "left", color=INK,
                )  # fmt: skip
                continue
            values = [subject.shown(value) for value in row.test_values]
            # Seeds of a deterministic method coincide: a vertical offset keeps them countable.
            offsets = [0.22 * (2 * k / (len(values) - 1) - 1) if len(values) > 1 else 0.0 for k in range(len(values))]
            heights = [y + offset for offset in offsets]
            axes.scatter(values, heights, color=color, marker=marker, s=20, lw=0, alpha=0.65, zorder=5)
            axes.plot([mean, mean], [y - 0.36, y + 0.36], color=INK, lw=1.6, solid_capstyle="butt", zorder=4)
            if interval := subject.interval(row):
                axes.plot(interval, [y, y], color=INK, lw=1.2, solid_capstyle="butt", zorder=4)
        axes.set_yticks(range(len(rows) - 1, -1, -1), [subject.label(row) for row in rows])
        for row, tick in zip(rows, axes.get_yticklabels(), strict=True):
            tick.set_fontsize(11 if len(rows) <= 15 else 9)
            tick.set_fontweight("bold" if row is subject.recommended else "normal")
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="x")
        axes.set_xlabel(subject.axis("test"))

    caption = f"{subject.where}: the test score of every seed (dots) and the mean of each cell (bar)"
    caption += f" with its {subject.confidence} interval." if ends else "."
    if any(row is subject.recommended for row in rows):
        caption += " Bold: the recommended cell."
    return render(f"scores-{subject.slug}", plot, caption + beyond(list(outside.values())) + note)
