"""Average precision of each class."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from harness.formatting.escape import plain
from harness.formatting.values import plural
from harness.report.figures.axes import legend
from harness.report.figures.base import PALETTE, WIDTH, Drawing, Subject, render
from harness.tasks.object_detection.metrics import OVERLAPS, by_class
from harness.tasks.object_detection.report.stored import classes_of, found_of, objects_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 20  # classes shown


def precision_by_class(subject: Subject) -> Drawing | None:
    """Draw AP50 and AP of each class in the recommended cell, or else the best; None without predictions."""
    row = subject.recommended or subject.question.best
    found = subject.predictions(row) if row is not None else None
    if row is None or found is None:
        return None
    classes = classes_of(found)
    true = objects_of(found.labels, classes)
    numbers = Counter(label for each in true for label in each.classes[~each.ignored].tolist())
    runs = [found_of(run, classes) for run in found.column("prediction")]
    shown = [label for label, _ in numbers.most_common(MOST)]
    if not shown:
        return None
    values = {
        name: [[by_class(true, run, thresholds)[label] for label in shown] for run in runs]
        for name, thresholds in (("AP50", (0.5,)), ("AP (50 to 95)", OVERLAPS))
    }
    which = "the recommended cell" if row is subject.recommended else "the best cell"
    caption = f"{subject.where}: average precision of each class in {subject.label(row)}, {which}"
    caption += f", over {plural(len(runs), 'seed')}: bars are means, dots are seeds." if len(runs) > 1 else "."
    caption += " Boxes with a score below 0.01 are not stored, so these may be a little below the tables' values."
    if len(numbers) > len(shown):
        caption += f" The {MOST} most frequent classes are shown."

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 1.3 + 0.55 * len(shown))
        axes = figure.add_subplot()
        heights = -np.arange(len(shown), dtype=float)
        for place, (name, scores) in enumerate(values.items()):
            percent, y = 100 * np.array(scores), heights + 0.2 - 0.4 * place
            axes.barh(y, percent.mean(0), height=0.36, color=PALETTE[place], label=name, alpha=0.75)
            if len(runs) > 1:
                axes.plot(percent.ravel(), np.tile(y, len(runs)), ".", color="black", markersize=3)
        names = [f"{plain(classes[label], 24)}\n({plural(numbers[label], 'object')})" for label in shown]
        axes.set_yticks(heights, names)
        axes.set_xlim(0, 100)
        axes.set_xlabel("average precision in %")
        axes.grid(axis="x")
        legend(figure, axes)

    return render(f"classes-{subject.slug}", plot, caption)
