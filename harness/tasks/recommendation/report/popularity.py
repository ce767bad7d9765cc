"""Which share of next items is found, by how many training users they have; cold items apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.formatting.values import plural
from harness.report.figures.axes import legend
from harness.report.figures.base import WIDTH, Drawing, Subject, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = (
    (0, 0, "cold"),
    (1, 4, "1-4"),
    (5, 19, "5-19"),
    (20, 49, "20-49"),
    (50, 99, "50-99"),
    (100, None, "100 or more"),
)
MOST = 6  # cells shown
TOP = 10


def hits_by_popularity(subject: Subject) -> Drawing | None:
    """Draw the share of users whose next item is among the first ten, for each cell; None without predictions."""
    found = [(row, known) for row in subject.question.rows if (known := subject.predictions(row)) is not None][:MOST]
    if not found:
        return None
    counts = found[0][1].column("target_users")[0]
    bins = [(name, np.flatnonzero((counts >= low) & (high is None or counts <= high))) for low, high, name in BINS]
    shown = [(name, rows) for name, rows in bins if len(rows)]
    caption = (
        f"{subject.where}: share of test users whose next item is among the ten recommended, by the number of training "
        "users of that item. Cold items have none."
    )

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 1.2 + 0.16 * len(shown) * (len(found) + 1.5))
        axes = figure.add_subplot()
        for place, (row, known) in enumerate(found):
            ranks = known.column("rank")
            shares = [100 * float(np.mean(ranks[:, rows] <= TOP)) for _, rows in shown]
            heights = -np.arange(len(shown)) - (place - (len(found) - 1) / 2) * 0.8 / len(found)
            axes.barh(heights, shares, height=0.7 / len(found), color=subject.look(row)[0], label=subject.label(row))
        axes.set_yticks(-np.arange(len(shown)), [f"{name}\n({plural(len(rows), 'user')})" for name, rows in shown])
        axes.set_xlabel("% of users with a hit")
        axes.set_ylabel("training users of the next item")
        axes.grid(axis="x")
        legend(figure, axes)

    return render(f"popularity-{subject.slug}", plot, caption)
