"""How well detectors tell rows of no class (`task.oos_label`) from rows of the classes."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.records.study_files import SCOPE, TEST_OUTSIDE
from harness.report.cells.cell_summary import CellSummary
from harness.report.figures.base import BRIGHT, INK, PALETTE, Drawing, Subject, capped, render
from harness.report.reading.predictions import Predictions, Unreadable
from harness.statistics.confidence.auroc import Separation, difference, separation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = "osD^"
Found = dict[str, Separation]  # by detector


def scope_detectors(subject: Subject) -> Drawing | None:
    """Draw the area under the ROC curve of each detector of each cell; None without rows of no class."""
    kept, more = capped(subject.rows, BRIGHT)
    cells = [(row, areas) for row in kept if (areas := _areas(subject, row))]
    if not cells:
        return None
    row, areas = next(((one, of) for one, of in cells if one is subject.recommended), cells[0])
    first = next(iter(areas.values()))
    caption = (
        f"{subject.where}: how well detectors tell {len(first.outside)} test rows out of scope from "
        f"{len(first.inside)} of the classes: area under the ROC curve in %, with {subject.confidence} intervals over "
        f"rows and seeds (50 is chance).{more} {_compared(subject, row, areas)}"
    )
    return render(f"scope-{subject.slug}", _plot(subject, cells), caption)


def _areas(subject: Subject, row: CellSummary) -> Found:
    known = subject.predictions(row)
    if known is None:
        return {}
    try:
        return {name: _area(known, name, subject) for name in _detectors(known)}
    except Unreadable:
        return {}


def _detectors(known: Predictions) -> list[str]:
    names = [name.removeprefix(SCOPE) for name in known.columns() if name.startswith(SCOPE)]
    return names if names and known.column("id", TEST_OUTSIDE).shape[1] > 1 else []


def _area(known: Predictions, name: str, subject: Subject) -> Separation:
    column = f"{SCOPE}{name}"
    level = subject.evidence.settings.confidence
    inside: npt.NDArray[Any] = known.column(column)
    return separation(inside, known.column(column, TEST_OUTSIDE), level)


def _compared(subject: Subject, row: CellSummary, areas: Found) -> str:
    """Compare the detectors of a cell: all pairs have one error rate, since the best is known from the same rows."""
    best = max(areas, key=lambda name: areas[name].area)
    pairs = max(1, len(list(combinations(areas, 2))))
    level = 1 - (1 - subject.evidence.settings.confidence) / pairs
    others = []
    for name in areas:
        if name != best:
            gap, low, high = (100 * each for each in difference(areas[best], areas[name], level))
            others.append(f"{name} by {gap:.1f} ({low:.1f} to {high:.1f})")
    text = f"{subject.label(row)}: {best} has the largest, {100 * areas[best].area:.1f}"
    return f"{text}; it exceeds {', '.join(others)}." if others else f"{text}."


def _plot(subject: Subject, cells: list[tuple[CellSummary, Found]]) -> Any:
    names = sorted({name for _, areas in cells for name in areas})

    def plot(figure: Figure) -> None:
        figure.set_size_inches(figure.get_figwidth(), 1.2 + (0.24 * len(names) + 0.2) * len(cells))
        axes = figure.add_subplot()
        labels = []
        for place, (row, areas) in enumerate(cells):
            base = -place * (len(names) + 1)
            labels.append((base - (len(names) - 1) / 2, subject.label(row)))
            for offset, name in enumerate(names):
                if name not in areas:
                    continue
                found, y = areas[name], base - offset
                color = PALETTE[offset % len(PALETTE)]
                axes.plot([100 * found.low, 100 * found.high], [y, y], color=color, lw=1.6)
                axes.plot(
                    100 * found.area, y, _MARKERS[offset % len(_MARKERS)], color=color, ms=6,
                    label=name if place == 0 else None,
                )  # fmt: skip
                axes.annotate(
                    f"{100 * found.area:.1f}", (100 * found.high, y), xytext=(5, 0), textcoords="offset points",
                    va="center", fontsize=9, color=INK,
                )  # fmt: skip
        axes.set_yticks([y for y, _ in labels], [label for _, label in labels])
        low = min(found.low for _, areas in cells for found in areas.values())
        axes.set_xlim(100 * min(0.5, float(np.floor(20 * low) / 20)), 104)
        axes.grid(axis="x")
        axes.set_xlabel("area under the ROC curve, %")
        figure.legend(loc="outside upper center", ncols=len(names))

    return plot
