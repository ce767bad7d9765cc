"""Pivot tables: one value by two columns, such as the test score by method and shots."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.formatting.escape import csv_text, latex, markdown, plain
from harness.report.tables.columns import Column, TableRow, field_of
from harness.report.tables.report import Report


@dataclass(frozen=True)
class Grid:
    """A pivot table with its content.

    Attributes:
        rows, columns, value: the columns that it is made of.
        down, across: texts of the headers.
        cells: [down][across], the table rows of that cell; several if rows differ in more than the two columns.
    """

    rows: Column
    columns: Column
    value: Column
    down: list[str]
    across: list[str]
    cells: list[list[list[TableRow]]]

    def text(self, cases: Sequence[TableRow]) -> str:
        """Join the values of the table rows in one cell."""
        return "; ".join(filter(None, (self.value.text(case) for case in cases)))


def grid(report: Report) -> Grid:
    """Fill the report's pivot, with headers in the order of their values; numbers are sorted as numbers."""
    assert report.pivot is not None
    names = (report.pivot.rows, report.pivot.columns, report.pivot.value)
    rows, columns, value = (_field(name, report) for name in names)
    down, across = _heads(rows, report.cases, ordered=rows.numeric), _heads(columns, report.cases, ordered=True)
    cells: list[list[list[TableRow]]] = [[[] for _ in across] for _ in down]
    for case in report.cases:
        cells[down.index(rows.text(case))][across.index(columns.text(case))].append(case)
    return Grid(rows, columns, value, down, across, cells)


def pivot_csv(report: Report) -> str:
    """Write the pivot with raw values; several in one cell are joined by semicolons."""
    filled = grid(report)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            csv_text(plain(f"{filled.rows.name} by {filled.columns.name}")),
            *(csv_text(plain(head)) for head in filled.across),
        ]
    )
    for head, line in zip(filled.down, filled.cells, strict=True):
        values = [[_raw(filled.value.value(case)) for case in cases] for cases in line]
        writer.writerow([csv_text(plain(head)), *(_joined(known) for known in values)])
    return text.getvalue()


def pivot_markdown(report: Report) -> str:
    """Write the pivot as a Markdown table."""
    filled = grid(report)
    heads = [f"{filled.rows.head} / {filled.columns.head}", *filled.across]
    lines = [f"# {markdown(title(report))}", "", _line([markdown(head) for head in heads])]
    lines.append(_line(["---", *("--:" for _ in filled.across)]))
    for head, line in zip(filled.down, filled.cells, strict=True):
        lines.append(_line([markdown(head), *(markdown(filled.text(cases)) for cases in line)]))
    return "\n".join(lines) + "\n"


def pivot_latex(report: Report) -> str:
    """Write the pivot as a tabular with booktabs rules."""
    filled = grid(report)
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * len(filled.across)}}}",
        r"\toprule",
        rf"{' & '.join(latex(text) for text in (filled.rows.head, *filled.across))} \\",
        r"\midrule",
    ]
    for head, line in zip(filled.down, filled.cells, strict=True):
        lines.append(rf"{' & '.join(latex(plain(text, 80)) for text in (head, *map(filled.text, line)))} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def title(report: Report) -> str:
    """Return the pivot's title."""
    filled = grid(report)
    return f"{filled.value.head} by {filled.rows.head} and {filled.columns.head}"


def _field(name: str, report: Report) -> Column:
    known = field_of(name, report.rows)
    assert known is not None  # the definition was checked against all rows
    return known


def _heads(known: Column, cases: Sequence[TableRow], ordered: bool) -> list[str]:
    values = {known.text(case): known.value(case) for case in cases}
    if not ordered:
        return list(values)
    numbers = all(isinstance(value, int | float) for value in values.values())
    return sorted(values, key=lambda text: (values[text], "") if numbers else (0, text))


def _raw(value: Any) -> Any:
    return csv_text(plain(value)) if isinstance(value, str) else "" if value is None else value


def _joined(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else "; ".join(map(str, values))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
