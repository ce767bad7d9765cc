"""The comparison table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.formatting.escape import plain
from harness.report.analysis.row_names import outcome
from harness.report.tables.columns import Column, TableRow
from harness.report.tables.report import Report
from harness.report.tables.table import constants, fields, head

WIDTH = 100  # columns that the table fits
_NAMES = ("task", "method", "model", "variant")  # columns that break only where a name is very long
_MOST = {"task": 16, "method": 20, "model": 16, "variant": 18, "metric": 10, "status": 12}  # characters
_LONGEST = 60  # characters of an error; the page and the files have all of it
_NEVER = ("trials", "hyperparameters")
# What goes first where there is no room; name, score, verdict and status always stay.
_DROPPED = (
    "ownership_seconds", "energy_joules", "saved_bytes", "latency_p50_seconds", "dollars", "ownership_dollars",
    "peak_memory_mb", "params_trainable", "tune_seconds", "n_seeds", "val_best", "train_seconds", "interval",
)  # fmt: skip


def text_table(report: Report, width: int = WIDTH) -> Group:
    """Make the table that a study prints at its end, the best of each question in bold; errors stand below it.

    Args:
        report: what is shown.
        width: columns of the terminal; more than 100 are not used.
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
        # Text, not str: a str may hold markup of the terminal library.
        style = "bold" if case.row is case.question.best else ""
        table.add_row(*(Text(plain(_text(field, case), _LONGEST)) for field in shown), style=style)
    return Group(table, *_errors(report))


def _text(field: Column, case: TableRow) -> str:
    """A field in the table, where an error has no room."""
    return "failed" if field.name == "status" and case.row.status == "failed" else field.text(case)


def _errors(report: Report) -> list[Text]:
    """Why rows failed, each on lines of its own."""
    rows = list({id(case.row): case.row for case in report.cases if case.row.status == "failed"}.values())
    return [Text(f"{plain(row.cell.id)} {outcome(row)}", style="red") for row in rows]


def _fitting(report: Report, room: int, shown: Sequence[Column]) -> list[Column]:
    """Leave columns out until the rest fits; a field that was asked for stays."""
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
