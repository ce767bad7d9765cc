"""Pareto plot: mean test score against the chosen cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.api.cost import COSTS
from harness.formatting.values import cost as worded
from harness.formatting.values import listed, score
from harness.report.cells.cell_summary import CellSummary
from harness.report.figures.axes import focus, log_axis
from harness.report.figures.base import INK, RULE, Drawing, Subject, capped, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Positions of a name beside its point: offset in points and alignment. Upper left and lower right avoid the line, which
# leaves a point to the right and arrives from below.
_PLACES = (
    (-5, 5, "right", "bottom"), (6, -6, "left", "top"), (5, 5, "left", "bottom"), (-5, -5, "right", "top"),
    (8, 0, "left", "center"), (-8, 0, "right", "center"), (0, 9, "center", "bottom"), (0, -9, "center", "top"),
)  # fmt: skip
_NAMED = 20  # maximum cells that are named
Point = tuple[float, float, CellSummary]


def cost(subject: Subject) -> Drawing | None:
    """Draw test score against cost; None if no cell has both."""
    known = {id(row): price for row in subject.rows if (price := subject.judgement(row).cost) is not None}
    rows, note = capped([row for row in subject.rows if id(row) in known and row.test_mean is not None])
    if not rows:
        return None
    key = subject.evidence.settings.cost
    # Position of zero cost on the logarithmic axis.
    lowest = min((price for price in known.values() if price > 0), default=1.0) / 5
    means = [subject.shown(row.test_mean or 0.0) for row in rows]
    shown = focus(means, rows[0].minimize)
    outside = {id(row) for row, mean in zip(rows, means, strict=True) if shown.leaves_out(mean)}
    ends = [end for row in rows if id(row) not in outside for end in subject.interval(row) or ()]
    low, high = shown.with_ends(ends)
    # Position of scores that lie beyond the axis.
    foot = high - 0.03 * (high - low) if rows[0].minimize else low + 0.03 * (high - low)
    free = [subject.label(row) for row in rows if known[id(row)] <= 0]

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        points = [
            (max(known[id(row)], lowest), foot if shown.leaves_out(mean) else mean, row)
            for row, mean in zip(rows, means, strict=True)
        ]
        for x, y, row in points:
            color, marker = subject.look(row)
            if id(row) not in outside and (interval := subject.interval(row)):
                axes.plot([x, x], interval, color=color, lw=1, alpha=0.6)
            axes.scatter([x], [y], color=color, marker=marker, s=42, lw=0, zorder=3)
            if row is subject.recommended:
                axes.scatter([x], [y], s=170, facecolors="none", edgecolors=INK, lw=1.4, zorder=4)
        front = _front(points)
        axes.step([x for x, _, _ in front], [y for _, y, _ in front], where="post", color=RULE, lw=1.2, zorder=1)
        axes.margins(x=0.15)
        axes.set_ylim(*((high, low) if rows[0].minimize else (low, high)))
        log_axis(axes, lambda value: worded(key, value))
        axes.grid()
        axes.set_xlabel(COSTS[key].title)
        axes.set_ylabel(subject.axis("test"))
        first = [point for point in points if point[2] is subject.recommended]
        texts = {
            id(row): subject.label(row) + (f" ↓ {score(row.test_mean, row.cell.metric)}" if id(row) in outside else "")
            for row in rows
        }
        order = list({id(point[2]): point for point in (*first, *front, *points)}.values())
        _annotate(figure, axes, order, texts, subject.recommended)

    caption = f"{subject.where}: mean test score against {COSTS[key].title}"
    caption += f"; bars are {subject.confidence} intervals." if any(map(subject.interval, rows)) else "."
    caption += " The line joins the cells that no cheaper cell beats."
    if any(row is subject.recommended for row in rows):
        caption += " Ring: the recommended cell."
    if free:
        be = "costs" if len(free) == 1 else "cost"
        caption += f" At the left edge: {listed(free)}, which {be} nothing."
    below = "Arrows: beyond the axis. " if outside else ""
    return render(f"cost-{subject.slug}", plot, f"{caption} {below}Names that would overlap are left out.{note}")


def _front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no cheaper one beats, sorted by cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point[0], -point[2].better(point[1]))):
        if not front or point[2].better(point[1]) > front[-1][2].better(front[-1][1]):
            front.append(point)
    return front


def _annotate(
    figure: Figure, axes: Axes, points: Sequence[Point], texts: Mapping[int, str], recommended: CellSummary | None
) -> None:
    """Write names beside points, in the given order; a name without free space is left out."""
    figure.draw_without_rendering()  # computes the layout, so that the extents below are final
    figure.set_layout_engine("none")
    taken = [tuple(axes.transData.transform((x, y))) for x, y, _ in points]
    boxes: list[Any] = []
    for x, y, row in points[:_NAMED]:
        own = tuple(axes.transData.transform((x, y)))
        others = [other for other in taken if other != own]
        for dx, dy, across, up in _PLACES:
            text = axes.annotate(
                texts[id(row)], (x, y), xytext=(dx, dy), textcoords="offset points", ha=across, va=up, fontsize=10,
                fontweight="bold" if row is recommended else "normal",
            )  # fmt: skip
            box = text.get_window_extent().padded(4)
            free = not any(box.overlaps(other) for other in boxes) and not any(box.contains(*point) for point in others)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and axes.bbox.y0 <= box.y0
            if free and inside and box.y1 <= figure.bbox.y1:
                boxes.append(box)
                break
            text.remove()
