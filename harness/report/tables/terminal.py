"""The comparison table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.api.cost import displayed
from harness.formatting.escape import plain
from harness.records.states import CellOutcome
from harness.report.cells.row_names import outcome
from harness.report.tables.columns import Column, TableRow
from harness.report.tables.report import Report
from harness.report.tables.table import constants, fields, head

WIDTH = 100  # maximum width of the table, in columns
_NAMES = ("task", "method", "model", "variant")  # columns that wrap only if a name is very long
_MOST = {"task": 16, "method": 20, "model": 16, "variant": 18, "metric": 10, "status": 12}  # characters
_LONGEST = 60  # characters of a table cell; the page and the files have the whole text
_NEVER = ("trials", "hyperparameters")
# Columns to drop if there is no room, in this order; name, score, verdict and status always stay.
_DROPPED = (
    *reversed((*displayed("main"), *displayed("wide"))),
    "p_best",
    "n_seeds",
    "val_best",
    "interval",
    "p_within",
    "failure_rate",
)


def text_table(report: Report, width: int = WIDTH) -> Group:
    """Make the table that a study prints at its end, the best cell of each group in bold, with errors below it.

    Args:
        report: the report to show.
        width: columns of the terminal; at most 100 are used.
    """
    room = min(width, WIDTH)
    shown = _fitting(report, room, [field for field in fields(report) if report.columns or field.name not in _NEVER])
    caption = " ".join(constants(report.rows))
    table = Table(title=Text(plain(report.study.name)), caption=Text(plain(caption)), box=box.SIMPLE_HEAD)
    for field in shown:
        most = _MOST.get(field.name, 40)
        least = min(most, _width(field, report)) if field.name in _NAMES else 12 if field.name == "status" else None
        table.add_column(
            Text(head(field, report)),
            justify="right" if field.numeric else "left",
            no_wrap=field.numeric or field.name == "verdict",
            overflow="fold",
            min_width=least,
            max_width=most,
        )
    for case in report.cases:
        # Text, not str: a str may contain Rich markup.
        style = "bold" if case.row is case.question.best else ""
        table.add_row(*(Text(plain(_text(field, case), _LONGEST)) for field in shown), style=style)
    return Group(table, *_errors(report))


def _text(field: Column, case: TableRow) -> str:
    """Return the text of a table cell; an error does not fit, so a failed row shows `failed`."""
    return "failed" if field.name == "status" and case.row.status == CellOutcome.FAILED else field.text(case)


def _errors(report: Report) -> list[Text]:
    """Return the errors of failed rows, each on its own lines."""
    rows = list({id(case.row): case.row for case in report.cases if case.row.status == CellOutcome.FAILED}.values())
    return [Text(f"{plain(row.cell.id)} {outcome(row)}", style="red") for row in rows]


def _fitting(report: Report, room: int, shown: Sequence[Column]) -> list[Column]:
    """Drop columns until the rest fits; requested columns stay."""
    kept = list(shown)
    for name in () if report.columns else (name for name in _DROPPED if name != report.settings.cost):
        if sum(min(_width(field, report), _MOST.get(field.name, 40)) + 2 for field in kept) + 2 <= room:
            break
        kept = [field for field in kept if field.name != name]
    return kept


def _width(field: Column, report: Report) -> int:
    if field.name == "status":
        return 12
    return max([len(head(field, report)), *(len(plain(field.text(case))) for case in report.cases)])
