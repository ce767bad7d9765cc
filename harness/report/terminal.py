"""The comparison table in the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from harness.report.escape import plain
from harness.report.evidence import best, groups
from harness.report.table import columns, constants
from harness.report.write import Report

_NAMES = ("task", "method", "model")  # columns that break only where a name is very long
_LONGEST = 60  # characters of an error; the page and the files have all of it


def text_table(report: Report) -> Table:
    """Make the table that a study prints at its end: it fits 100 columns, the best of each question in bold."""
    shown = [column for column in columns(report.rows) if column.terminal]
    caption = " ".join(constants(report.rows))
    table = Table(title=Text(plain(report.study.name)), caption=Text(plain(caption)), box=box.SIMPLE_HEAD)
    for column in shown:
        cells = [plain(column.text(row)) for row in report.rows]
        table.add_column(
            Text(column.name),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            overflow="fold",
            min_width=min(column.width, max(map(len, cells), default=1)) if column.name in _NAMES else column.least,
            max_width=column.width,
        )
    tops = {id(best(group)) for group in groups(report.rows)}
    for row in report.rows:
        # Text, not str: a str may hold markup of the terminal library.
        texts = (Text(plain(column.text(row), _LONGEST)) for column in shown)
        table.add_row(*texts, style="bold" if id(row) in tops else "")
    return table
