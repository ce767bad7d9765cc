"""Results by type of entity, with kinds of errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.formatting.escape import plain
from harness.formatting.values import plural
from harness.report.figures.axes import legend
from harness.report.figures.base import INK, PALETTE, WIDTH, Drawing, Subject, render
from harness.report.reading.predictions import Predictions
from harness.tasks.token_tagging.entities import is_strict
from harness.tasks.token_tagging.report.outcomes import OUTCOMES, Outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 15  # types shown
NAMES = {
    "found": "found", "ends": "wrong ends", "type": "wrong type", "both": "wrong ends and type", "missed": "missed",
}  # fmt: skip
COLORS = dict(zip(OUTCOMES, (PALETTE[0], PALETTE[4], PALETTE[3], PALETTE[5], PALETTE[1]), strict=True))


def errors_by_type(subject: Subject) -> Drawing | None:
    """Draw what became of each type's entities in the recommended cell, or else the best; None without predictions."""
    row = subject.recommended or subject.question.best
    found = subject.predictions(row) if row is not None else None
    if row is None or found is None:
        return None
    counted = outcomes(found)
    types = [name for name in counted.types if counted.total(name)][:MOST]
    if not types:
        return None
    which = "the recommended cell" if row is subject.recommended else "the best cell"
    runs = len(found.seeds)
    caption = f"{subject.where}: the entities of the test rows by type, and what became of them in "
    caption += f"{subject.label(row)}, {which}" + (f", over {plural(runs, 'seed')}" if runs > 1 else "") + ". "
    caption += f"P, R and F1 are precision, recall and their harmonic mean in percent. {_spurious(counted)}"
    if len(types) < len([name for name in counted.types if counted.total(name)]):
        caption += f" The {MOST} most frequent types are shown."

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 1.5 + 0.52 * len(types))
        axes = figure.add_subplot()
        for index, name in enumerate(types):
            y, left, total = len(types) - 1 - index, 0.0, counted.total(name)
            precision, recall, f1 = (round(100 * value) for value in counted.rates(name))
            label = f"{plain(name, 24)}: {plural(total // runs, 'entity')}, P {precision}, R {recall}, F1 {f1}"
            axes.text(0, y + 0.24, label.replace("entitys", "entities"), va="center", fontsize=9.5, color=INK)
            for each in OUTCOMES:
                share = 100 * counted.true[name, each] / total
                shown = NAMES[each] if index == 0 else None
                axes.barh(y - 0.16, share, left=left, height=0.34, color=COLORS[each], label=shown, alpha=0.85)
                if share >= 6:
                    axes.text(left + share / 2, y - 0.16, f"{share:.0f}", ha="center", va="center", fontsize=8.5)
                left += share
        axes.set_yticks([])
        axes.set_ylim(-0.5, len(types) - 0.4)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of the type's entities")
        legend(figure, axes)

    return render(f"types-{subject.slug}", plot, caption)


def outcomes(found: Predictions) -> Outcomes:
    """Count what became of the entities of all rows in all runs of a cell."""
    true = [json.loads(label) for label in found.labels]
    counted = Outcomes()
    for run in found.column("prediction"):
        seen = [json.loads(tags) for tags in run]
        strict = is_strict(true) or is_strict(seen)
        for one, other in zip(true, seen, strict=True):
            counted.add(one, other, strict)
    return counted


def _spurious(counted: Outcomes) -> str:
    none, predicted = counted.spurious.total(), counted.predicted.total()
    if not predicted:
        return "It predicts no entity."
    return f"Of the predicted entities {none / predicted:.0%} overlap none of the data."
