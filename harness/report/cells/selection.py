"""How far validation supports the choice of a configuration: its score, its standard error, its lead over the default.

The best of several noisy scores is too high (the winner's curse), so it belongs beside the test score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.formatting.values import difference, listed, percent, plural, score
from harness.records.record import Record, metric_of
from harness.records.states import Phase, RunStatus
from harness.report.cells.cell_summary import CellSummary, facts
from harness.report.cells.row_names import name
from harness.report.reading.predictions import Predictions
from harness.report.reading.runs import Run


@dataclass(frozen=True)
class Selection:
    """The validation score of a tuned cell's choice.

    Attributes:
        value: the score of the choice, as a fraction. It is not the best score if the study chose otherwise
            (`tune.select`).
        rows: number of validation rows; None if the record does not tell it.
        error: standard error of `value` over the validation rows; None if unknown.
        default: the score of the documented default, which is the cell's first trial; None if that has no score.
        lead: how far the choice is above the default, oriented so that higher is better; None without a default. 0 if
            the default was chosen.
        gap: `value` minus the mean test score, oriented so that a positive gap flatters the choice; None without a test
            score.
    """

    value: float
    rows: int | None
    error: float | None
    default: float | None
    lead: float | None
    gap: float | None

    @property
    def within_error(self) -> bool:
        """True if the choice is not the default, and leads it by less than one standard error."""
        return self.lead is not None and self.error is not None and 0 < self.lead < self.error


def selection(row: CellSummary, known: Predictions | None = None) -> Selection | None:
    """Return what validation says of a cell's choice; None if nothing was tuned or the best trial has no score.

    Args:
        row: the cell.
        known: its predictions for the test rows, whose spread stands for that of the validation rows if the metric is
            not accuracy: trials store none.
    """
    if row.best_trial is None or row.val_best is None or not row.cell.space:
        return None
    rows = _rows(row)
    default, choice = _default(row), _choice(row)
    before = default.metric("val", row.cell.metric) if default is not None else None
    known_value = metric_of(choice, "val", row.cell.metric)
    value = row.val_best if known_value is None else known_value
    chosen = default is not None and default.record.trial == choice.trial
    lead = 0.0 if chosen else None if before is None else row.better(value) - row.better(before)
    gap = None if row.test_mean is None else row.better(value) - row.better(row.test_mean)
    return Selection(value, rows, _error(row, value, rows, known), before, lead, gap)


def of_choice(row: CellSummary, found: Selection | None, rows: Sequence[CellSummary]) -> str:
    """Say of a cell that its choice leads the default by less than one standard error; "" otherwise."""
    if found is None or not found.within_error:
        return ""
    return f" {name(row, rows)} leads its default by {_lead(row, found)}, less than one standard error."


def told(rows: Sequence[CellSummary], found: Sequence[Selection | None]) -> Iterator[str]:
    """Describe the choices of a comparison group: those that are noise, and how far validation scores flatter them.

    Args:
        rows: the cells of the group.
        found: their selections.
    """
    tuned = [(row, each) for row, each in zip(rows, found, strict=True) if each is not None and each.lead is not None]
    close = [(row, each) for row, each in tuned if each.within_error]
    if close:
        sizes = {each.rows for _, each in close}
        shared = sizes.pop() if len(sizes) == 1 and rows[0].cell.metric == "accuracy" else None
        leads = [_lead(row, each) if shared is None else _in_rows(each) for row, each in close]
        names = [f"{name(row, rows)} by {lead}" for (row, _), lead in zip(close, leads, strict=True)]
        of = "" if shared is None else f" (in rows of {shared:,})"
        yield (
            f"The choice of {len(close)} of {plural(len(tuned), 'tuned cell')} leads its default by less than one "
            f"standard error of the validation rows, so another sample of rows may have chosen otherwise{of}: "
            f"{listed(names, 8)}."
        )
    gaps = [each.gap for _, each in tuned if each.gap is not None]
    if len(gaps) > 1 and (mean := float(np.mean(gaps))) > 0:
        metric = rows[0].cell.metric
        yield (
            f"The validation scores of {plural(len(gaps), 'choice')} lie {difference(mean, metric)} "
            f"{'below' if rows[0].minimize else 'above'} their test scores on average: the best of several scores is "
            "partly luck. Judge by the test score."
        )


def _lead(row: CellSummary, found: Selection) -> str:
    assert found.lead is not None  # it was compared with the standard error
    if row.cell.metric == "accuracy" and found.rows:
        return f"{_in_rows(found)} of {plural(found.rows, 'validation row')}"
    if percent(row.cell.metric):
        return difference(found.lead, row.cell.metric)
    return score(found.lead, row.cell.metric)


def _in_rows(found: Selection) -> str:
    return f"{(found.lead or 0.0) * (found.rows or 0):.0f}"


def _default(row: CellSummary) -> Run | None:
    """Return the cell's first trial: the documented default, unless that was not among the allowed values."""
    trials = _trials(row)
    first = min(trials, key=lambda run: run.trial or 0, default=None)
    return first if first is not None and first.status == RunStatus.OK else None


def _choice(row: CellSummary) -> Record:
    """Return the trial that was confirmed, else the best one."""
    assert row.best_trial is not None  # only tuned cells are asked
    return next((run.record for run in _trials(row) if run.trial == row.cell.trial), row.best_trial)


def _trials(row: CellSummary) -> list[Run]:
    runs = (run for run in row.cell.runs if run.phase == Phase.TUNE and run.trial is not None)
    return [run for run in runs if not run.replicate]


def _rows(row: CellSummary) -> int | None:
    assert row.best_trial is not None  # only tuned cells are asked
    known = facts(row.best_trial)
    sizes = known.get("rows")
    size = (
        sizes.get("train" if known.get("validation") == "kfold" else "validation") if isinstance(sizes, dict) else None
    )
    return size if isinstance(size, int) and size > 0 else None


def _error(row: CellSummary, value: float, rows: int | None, known: Predictions | None) -> float | None:
    if rows is None:
        return None
    if row.cell.metric == "accuracy":
        # That none was wrong does not prove that none would be.
        share = min(max(value, 1 / (rows + 1)), rows / (rows + 1))
        return math.sqrt(share * (1 - share) / rows)
    if known is None:
        return None
    return float(known.scores.std(axis=1, ddof=1).mean()) / math.sqrt(rows)
