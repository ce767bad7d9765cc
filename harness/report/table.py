"""The comparison table as CSV, Markdown, LaTeX and in the terminal: fractions in CSV, percentages for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.report.escape import csv_text, latex, markdown, plain
from harness.report.evidence import best, groups
from harness.report.rows import Row
from harness.report.wording import count, duration, mean_and_spread, memory, metric_name, percent, score, settings

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = (
    "task", "model", "method", "variant", "metric", "test_mean", "test_std", "n_seeds", "val_best", "trials", "failed",
    "params_trainable", "tune_seconds", "train_seconds", "peak_memory_mb", "hyperparameters",
    # Later columns come after these; none is renamed.
    "test_values", "status", "error", "cell", "seeds", "unreadable",
)  # fmt: skip


def to_csv(rows: Sequence[Row]) -> str:
    """Write a row per cell with the columns of `COLUMNS`: fractions, seconds, megabytes, counts; unknown is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_row(row) for row in rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Row], title: str, summary: Sequence[str]) -> str:
    """Write a table for people, the best of each question in bold, with what is constant said once above it."""
    columns = _columns(rows)
    header = [column.name for column in columns]
    lines = [f"# {markdown(title)}", "", *(f"{markdown(sentence)}\n" for sentence in (*summary, *constants(rows)))]
    lines += [_line(header), _line(["--:" if column.numeric else "---" for column in columns])]
    tops = {id(best(group)) for group in groups(rows)}
    for row in rows:
        cells = [markdown(column.text(row)) for column in columns]
        lines.append(
            _line(
                [f"**{c}**" if id(row) in tops and col.bold and c else c for c, col in zip(cells, columns, strict=True)]
            )
        )
    return "\n".join(lines) + "\n"


def to_latex(rows: Sequence[Row]) -> str:
    r"""Write a tabular with booktabs rules, to be \input into a table environment."""
    columns = [column for column in _columns(rows) if column.paper]
    head = " & ".join(latex(column.name) for column in columns)
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% {latex(sentence)}" for sentence in constants(rows)),
        rf"\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in columns)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
    ]
    tops = {id(best(group)) for group in groups(rows)}
    for row in rows:
        cells = [latex(plain(column.text(row), 80)).replace("±", r"$\pm$") for column in columns]
        bold = [
            rf"\textbf{{{c}}}" if id(row) in tops and col.bold and c else c
            for c, col in zip(cells, columns, strict=True)
        ]
        lines.append(rf"{' & '.join(bold)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def text_table(rows: Sequence[Row], title: str | None = None) -> Table:
    """Make the table that a study prints at its end: at most 100 columns wide, the best of each question in bold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = [column for column in _columns(rows) if column.terminal]
    caption = " ".join(constants(rows))
    table = Table(title=title and Text(plain(title)), caption=caption and Text(plain(caption)), box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(
            Text(column.name),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric or column.bold,
            overflow="fold",
            max_width=column.width,
            min_width=column.least,
        )
    tops = {id(best(group)) for group in groups(rows)}
    for row in rows:
        # Text, not str: a str may hold markup of the terminal library.
        table.add_row(
            *(Text(plain(column.text(row), 60)) for column in columns), style="bold" if id(row) in tops else ""
        )
    return table


def constants(rows: Sequence[Row]) -> list[str]:
    """Say once what is the same in every row, so that the table needs no column for it."""
    same = [
        f"{what} {getattr(rows[0].cell, what)}"
        for what in ("task", "model", "metric")
        if rows and len({getattr(row.cell, what) for row in rows}) == 1 and getattr(rows[0].cell, what)
    ]
    return [f"In every row: {', '.join(same)}."] if same else []


def varies(rows: Sequence[Row], what: str) -> bool:
    """Tell whether a column of the cells' own attributes says anything."""
    return len({str(getattr(row.cell, what)) for row in rows}) > 1


def status(row: Row) -> str:
    """Word a row's status for people, with the number of runs that go on or failed."""
    parts = [f"{row.running} running" if row.running else row.status]
    if row.failed and row.status != "failed":
        parts.append(f"{row.failed} run{'s' if row.failed > 1 else ''} failed")
    return "; ".join(parts)


def outcome(row: Row) -> str:
    """Word a row's status; that of a failed cell with its reason."""
    return f"failed: {plain(row.error or 'no message', 200)}" if row.status == "failed" else status(row)


class _Column:
    """A column of the tables for people.

    Args:
        name: its header.
        text: from row to cell.
        numeric: aligned to the right.
        bold: set in bold in the best row.
        paper: also in the LaTeX table.
        terminal: also in the terminal's.
        least, width: characters in the terminal, at least and at most.
    """

    def __init__(
        self, name: str, text: Callable[[Row], str], *, numeric: bool = True, bold: bool = False, paper: bool = True,
        terminal: bool = True, least: int | None = None, width: int | None = None,
    ) -> None:  # fmt: skip
        self.name, self.text, self.numeric, self.bold = name, text, numeric, bold
        self.paper, self.terminal, self.least, self.width = paper, terminal, least, width


def _columns(rows: Sequence[Row]) -> list[_Column]:
    metrics = {row.cell.metric for row in rows}
    one = metrics.pop() if len(metrics) == 1 else None
    # With one metric the header carries its name and unit, else every cell its own unit.
    head = f"{metric_name(one)}{', %' if percent(one) else ''}" if one else "score"
    columns = [_Column("method", lambda row: row.cell.method or row.cell.id, numeric=False, bold=True, width=20)]
    if varies(rows, "model"):
        columns.append(_Column("model", lambda row: row.cell.model, numeric=False, width=16))
    if varies(rows, "task"):
        columns.insert(0, _Column("task", lambda row: row.cell.task, numeric=False, width=16))
    if any(row.cell.variant for row in rows):
        columns.append(_Column("variant", lambda row: settings(row.cell.variant, " "), numeric=False, width=18))
    if one is None:
        columns.append(_Column("metric", lambda row: metric_name(row.cell.metric), numeric=False, width=10))
    return [
        *columns,
        _Column(f"test {head}", lambda row: mean_and_spread(row, unit=one is None), bold=True),
        _Column("seeds", lambda row: str(len(row.seeds)) if row.seeds else ""),
        _Column(f"val {head}" if one is None else "val", lambda row: score(row.val_best, row.cell.metric, one is None)),
        _Column("trainable", lambda row: count(row.params_trainable)),
        _Column("train", lambda row: duration(row.train_seconds)),
        _Column("tuning", lambda row: duration(row.tune_seconds)),
        _Column("memory", lambda row: memory(row.peak_memory_mb), terminal=False),
        _Column("trials", lambda row: str(row.trials) if row.trials else "", paper=False, terminal=False),
        _Column(
            "hyperparameters", lambda row: settings(row.hyperparameters), numeric=False, paper=False, terminal=False
        ),
        _Column("status", outcome, numeric=False, paper=any(row.status != "ok" for row in rows), least=12, width=34),
    ]


def _csv_row(row: Row) -> dict[str, Any]:
    cell = row.cell
    return {
        "task": csv_text(plain(cell.task)),
        "model": csv_text(plain(cell.model)),
        "method": csv_text(plain(cell.method)),
        "variant": _json(cell.variant) if cell.variant else None,
        "metric": csv_text(plain(cell.metric)),
        "test_mean": row.test_mean,
        "test_std": row.test_std,
        "n_seeds": len(row.seeds),
        "val_best": row.val_best,
        "trials": row.trials,
        "failed": row.failed,
        "params_trainable": row.params_trainable,
        "tune_seconds": row.tune_seconds,
        "train_seconds": row.train_seconds,
        "peak_memory_mb": row.peak_memory_mb,
        "hyperparameters": _json(row.hyperparameters) if row.hyperparameters else None,
        "test_values": _json(row.test_values) if row.test_values else None,
        "status": row.status,
        "error": csv_text(plain(row.error)) if row.error else None,
        "cell": csv_text(plain(cell.id)),
        "seeds": _json(row.seeds) if row.seeds else None,
        "unreadable": cell.unreadable,
    }


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
