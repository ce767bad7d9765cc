"""Confusion matrix of a cell; with many classes, its most frequent confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.formatting.escape import plain
from harness.formatting.values import plural
from harness.report.figures.base import BLUE, INK, ORANGE, WIDTH, Drawing, Subject, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLASSES = 20  # maximum for a readable matrix
_PAIRS = 15
Counts = Counter[tuple[str, str]]  # (label, prediction)


def confusion(subject: Subject) -> Drawing | None:
    """Draw the confusions of the recommended cell, or else of the best; None without predictions."""
    row = subject.recommended or subject.question.best
    found = subject.predictions(row) if row is not None else None
    if row is None or found is None:
        return None
    runs = len(found.seeds)
    predicted = found.column("prediction")
    counts = Counter((true, seen) for run in predicted for true, seen in zip(found.labels, run, strict=True))
    labels = sorted({label for pair in counts for label in pair})
    totals = Counter({label: sum(n for (true, _), n in counts.items() if true == label) for label in labels})
    which = "the recommended cell" if row is subject.recommended else "the best cell"
    caption = f"{subject.where}: what {subject.label(row)}, {which}, takes for what on the test rows"
    caption += f", over {plural(runs, 'seed')}" if runs > 1 else ""
    if len(labels) <= _CLASSES:
        caption += ". Rows are the labels, columns the predictions; numbers are % of a row."
        return render(f"confusion-{subject.slug}", _matrix(labels, counts, totals), caption)
    wrong = Counter({pair: number for pair, number in counts.items() if pair[0] != pair[1]})
    if not wrong:
        return None
    pairs = wrong.most_common(_PAIRS)
    share = sum(number for _, number in pairs) / wrong.total()
    caption += f": the {len(pairs)} most frequent confusions of {len(labels)} classes, {share:.0%} of all errors. "
    caption += "Label → prediction, in % of the label's rows."
    return render(f"confusion-{subject.slug}", _bars(pairs, totals), caption)


def _matrix(labels: list[str], counts: Counts, totals: Counter[str]) -> Callable[[Figure], None]:
    from matplotlib.patches import Rectangle

    shares = np.array([[counts[true, seen] / max(totals[true], 1) for seen in labels] for true in labels])

    def plot(figure: Figure) -> None:
        side = max(0.24, min(0.5, 3.6 / len(labels)))
        figure.set_size_inches(WIDTH, 1.6 + side * len(labels))
        axes = figure.add_subplot()
        for y, x in np.argwhere(shares > 0):
            share = shares[y, x]
            color = BLUE if x == y else ORANGE
            # Translucent, so that text stays readable on light and on dark pages.
            axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=color, alpha=0.08 + 0.6 * share, lw=0))
            if share >= 0.005:
                size = 10 if len(labels) <= 10 else 7.5
                axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=size, color=INK)
        names = [plain(label, 20) for label in labels]
        size = 10 if len(labels) <= 12 else 9
        axes.set_xticks(range(len(labels)), names, rotation=0 if max(map(len, names)) * len(names) < 50 else 90)
        axes.set_yticks(range(len(labels)), names)
        axes.tick_params(labelsize=size)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")

    return plot


def _bars(pairs: list[tuple[tuple[str, str], int]], totals: Counter[str]) -> Callable[[Figure], None]:
    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 0.9 + 0.42 * len(pairs))
        axes = figure.add_subplot()
        for index, ((true, seen), number) in enumerate(pairs):
            y = len(pairs) - 1 - index
            share = 100 * number / totals[true]
            axes.barh(y - 0.22, share, height=0.3, color=ORANGE, alpha=0.85)
            axes.text(0, y + 0.2, f"{plain(true, 36)} → {plain(seen, 36)}", va="center", fontsize=9.5)
            axes.annotate(
                f"{share:.0f}", (share, y - 0.22), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9.5
            )
        axes.set_yticks([])
        axes.set_ylim(-0.6, len(pairs) - 0.4)
        axes.set_xlim(0, None)
        axes.grid(axis="x")
        axes.set_xlabel("% of the label's rows")

    return plot
