"""Pareto plot of a task and what is kept: mean test score against what training made the model forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.cost import COSTS
from harness.report.cells.cell_summary import CellSummary
from harness.report.figures.base import RULE, Drawing, Subject, capped, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOST = ("forgetting", "forgotten_accuracy")  # costs that `task.retain` gives
NAMED = 12  # most cells whose names are written
Point = tuple[float, float, CellSummary]  # what was forgotten, score in axis units, cell


def forgetting(subject: Subject) -> Drawing | None:
    """Draw test score against what was forgotten; None unless two cells have both."""
    for key in LOST:
        rows, note = capped([row for row in subject.rows if key in row.costs and row.test_mean is not None])
        if len(rows) > 1:
            points = [(row.costs[key], subject.shown(row.test_mean or 0.0), row) for row in rows]
            return _drawn(subject, key, points, note)
    return None


def front(points: list[Point]) -> list[Point]:
    """Return the points that none beats in both, from the least forgotten to the most."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point[0], -point[2].better(point[1]))):
        if not found or point[2].better(point[1]) > found[-1][2].better(found[-1][1]):
            found.append(point)
    return found


def _drawn(subject: Subject, key: str, points: list[Point], note: str) -> Drawing:
    kept = front(points)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(0, color=RULE, lw=1)
        axes.step([x for x, _, _ in kept], [y for _, y, _ in kept], where="post", color=RULE, lw=1.2, zorder=1)
        for x, y, row in points:
            color, marker = subject.look(row)
            if interval := subject.interval(row):
                axes.plot([x, x], interval, color=color, lw=1, alpha=0.6)
            axes.scatter([x], [y], color=color, marker=marker, s=42, lw=0, zorder=3)
        lowest = min(x for x, _, _ in points)
        middle = (lowest + max(x for x, _, _ in points)) / 2
        for x, y, row in [*kept, *(point for point in points if point not in kept)][:NAMED]:
            right = x <= middle  # names go towards the middle, so that they stay inside
            axes.annotate(
                subject.label(row), (x, y), xytext=(6 if right else -6, 4), textcoords="offset points", fontsize=10,
                ha="left" if right else "right", va="bottom",
            )  # fmt: skip
        axes.margins(0.12)
        axes.locator_params(axis="x", nbins=5)
        if points[0][2].minimize:
            axes.invert_yaxis()
        axes.grid()
        axes.set_xlabel(COSTS[key].title + (", nats a token" if key == LOST[0] else ""))
        axes.set_ylabel(subject.axis("test"))

    caption = (
        f"{subject.where}: mean test score against {COSTS[key].title}. {COSTS[key].about} At the vertical line nothing "
        "is forgotten; left of it, training has helped. The stepped line joins the cells that no cell which forgets "
        f"less beats.{note}"
    )
    return render(f"forgetting-{subject.slug}", plot, caption)
