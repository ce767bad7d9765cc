"""Describe the total cost of ownership of a cell, and where two cells break even."""

from __future__ import annotations

from collections.abc import Sequence

from harness import formatting
from harness.report.analysis.recommendation import ownership
from harness.report.analysis.verdicts import ComparisonGroup, Evidence
from harness.report.cells import row_names
from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.settings import Settings
from harness.statistics.ownership import break_even


def owning(evidence: Evidence) -> list[str]:
    """Describe the total cost of the recommended cell, and when the best cell would be cheaper; [] without requests.

    In dollars if a price is known (`hardware=`), else in seconds of the machine.
    """
    if evidence.settings.requests_per_month is None:
        return []
    return [text for question in evidence.questions for text in _question(question, evidence.settings)]


def _question(question: ComparisonGroup, settings: Settings) -> list[str]:
    chosen, best = question.recommended, question.best
    row = chosen or best
    if row is None:
        return []
    unit = "dollars" if _total(row, "dollars", settings) is not None else "seconds"
    total = _total(row, unit, settings)
    if total is None:
        return [
            f"The total cost of {row_names.name(row, question.rows)} is not known: its runs hold no latency, or no "
            "tuning time."
        ]
    served = f"{settings.requests_per_month:,.0f} requests a month for {settings.months:g} months"
    said = [
        f"With {served}, {row_names.name(row, question.rows)} costs {_worded(total, unit)} in all: "
        f"{_parts(row, unit, settings)}."
    ]
    possible_cells = (
        [best]
        if chosen is not None and best is not None and best is not chosen
        else _cheapest(question, row, unit, settings)
    )
    said += [text for rival in possible_cells if (text := _between(row, rival, question.rows, unit, settings))]
    return said


def _between(row: CellSummary, rival: CellSummary, rows: Sequence[CellSummary], unit: str, settings: Settings) -> str:
    one, other = ownership(row, unit), ownership(rival, unit)
    if one.once is None or other.once is None or one.request is None or other.request is None:
        return ""
    first, second = row_names.name(row, rows), row_names.name(rival, rows)
    even = break_even(one, other, settings.requests_per_month)
    if even is None:
        cheaper = first if (one.once, one.request) < (other.once, other.request) else second
        return f"Of {first} and {second}, {cheaper} is cheaper at any number of requests."
    served = first if one.request < other.request else second
    made = second if served == first else first
    months = f" ({even.months:.2g} months)" if even.months is not None else ""
    return f"{made} is cheaper up to {even.requests:,.0f} requests{months}, {served} above."


def _cheapest(question: ComparisonGroup, row: CellSummary, unit: str, settings: Settings) -> list[CellSummary]:
    """Return the cell with the lowest total cost, unless it is the given one."""
    totals = [(total, i) for i, each in enumerate(question.rows) if (total := _total(each, unit, settings)) is not None]
    least = question.rows[min(totals)[1]] if totals else row
    return [least] if least is not row else []


def _parts(row: CellSummary, unit: str, settings: Settings) -> str:
    known = ownership(row, unit)
    serving = (known.request or 0.0) * (settings.requests_per_month or 0.0) * settings.months
    parts = (("tuning", known.tuning), ("training", known.training), ("serving", serving))
    return ", ".join(f"{name} {_worded(value or 0.0, unit)}" for name, value in parts)


def _total(row: CellSummary, unit: str, settings: Settings) -> float | None:
    return ownership(row, unit).total(settings.requests_per_month or 0.0, settings.months)


def _worded(value: float, unit: str) -> str:
    return formatting.dollars(value) if unit == "dollars" else formatting.duration(value)
