"""Predictions against the numbers of the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.formatting.values import plural
from harness.report.figures.base import BLUE, RULE, WIDTH, Drawing, Subject, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 1500  # maximum points; more hide each other and make the page large


def residuals(subject: Subject) -> Drawing | None:
    """Draw the predictions of the recommended cell, or else of the best; None without predictions."""
    row = subject.recommended or subject.question.best
    found = subject.predictions(row) if row is not None else None
    if row is None or found is None:
        return None
    predicted = found.column("prediction").mean(axis=0)
    shown = slice(None, None, -(-len(predicted) // MOST))
    which = "the recommended cell" if row is subject.recommended else "the best cell"
    runs = len(found.seeds)
    caption = f"{subject.where}: what {subject.label(row)}, {which}, predicts for the test rows"
    caption += f", mean of {plural(runs, 'seed')}" if runs > 1 else ""
    caption += ". On the line a prediction equals the number."
    if len(predicted[shown]) < len(predicted):
        caption += f" {len(predicted[shown])} of {len(predicted)} rows are shown."

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, WIDTH)
        axes = figure.add_subplot()
        ends = (
            min(found.labels.min(), predicted.min()),
            max(found.labels.max(), predicted.max()),
        )
        axes.plot(ends, ends, color=RULE, lw=1.2, zorder=1)
        axes.scatter(found.labels[shown], predicted[shown], s=12, color=BLUE, alpha=0.35, lw=0, zorder=2)
        axes.set_xlabel("number in the source")
        axes.set_ylabel("prediction")
        axes.grid()

    return render(f"residuals-{subject.slug}", plot, caption)
