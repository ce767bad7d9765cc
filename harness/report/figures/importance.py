"""Hyperparameter importance: one bar per cell and tuned key, from the study's importances.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.formatting.escape import plain
from harness.formatting.values import listed
from harness.records.study_files import StudyPaths
from harness.report.cells.cell_summary import CellSummary, number
from harness.report.figures.base import INK, RULE, WIDTH, Drawing, Subject, capped, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KEYS = 5  # maximum columns; more leave no room for their names


def importance(subject: Subject) -> Drawing | None:
    """Draw the importance of hyperparameters; None if the study has not measured any."""
    known = {id(row): _read(row) for row in subject.rows}
    rows, note = capped([row for row in subject.rows if known[id(row)]])
    totals: dict[str, float] = {}
    for row in rows:
        for key, value in known[id(row)].items():
            totals[key] = totals.get(key, 0.0) + value
    keys = sorted(totals, key=lambda key: (-totals[key], key))
    if not rows:
        return None
    if len(keys) > _KEYS:
        note += f" The {_KEYS} most important of {len(keys)} hyperparameters are shown."
        keys = keys[:_KEYS]

    without = [subject.label(row) for row in subject.rows if row.cell.space and not known[id(row)]]
    if without:
        note += f" Not measured, for lack of trials or of choices: {listed(without)}."

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 0.7 + 0.3 * len(rows))
        axes = figure.add_subplot()
        for column, key in enumerate(keys):
            axes.axvline(column, color=RULE, lw=0.8, zorder=1)
            for index, row in enumerate(rows):
                value = known[id(row)].get(key)
                if value is None:
                    continue
                y = len(rows) - 1 - index
                axes.barh(y, 0.62 * value, left=column, height=0.62, color=subject.look(row)[0], alpha=0.85, zorder=2)
                axes.text(column + 0.62 * value + 0.03, y, f"{100 * value:.0f}", va="center", fontsize=9, color=INK)
        axes.set_yticks(range(len(rows) - 1, -1, -1), [subject.label(row, 24) for row in rows])
        axes.set_xticks(range(len(keys)), [plain(_short(key, keys), 16) for key in keys], ha="left", fontsize=10)
        axes.xaxis.tick_top()
        axes.set_xlim(-0.02, len(keys) - 0.05)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.spines["bottom"].set_visible(False)

    caption = (
        f"{subject.where}: how much of the difference between good and ordinary trials each hyperparameter explains, "
        "in % of a cell's total (PED-ANOVA, Watanabe et al. 2023). With few trials it is a rough guide."
    )
    return render(f"importance-{subject.slug}", plot, caption + note)


def _short(key: str, keys: list[str]) -> str:
    """Drop a key's section if the rest is unique."""
    last = key.rsplit(".", maxsplit=1)[-1]
    return key if sum(other.rsplit(".", maxsplit=1)[-1] == last for other in keys) > 1 else last


def _read(row: CellSummary) -> dict[str, float]:
    """Read a cell's entry; {} if it is missing or unreadable."""
    if not row.cell.runs:
        return {}
    study = row.cell.runs[0].paths.directory.parents[2]
    entry = StudyPaths(study).read_importances().get(row.cell.runs[0].cell)
    values = entry.items() if isinstance(entry, Mapping) else ()
    return {str(key): value for key, content in values if (value := number(content)) is not None}
