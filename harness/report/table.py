"""The comparison table as CSV, Markdown and LaTeX: fractions in CSV, percentages for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from harness.report.escape import csv_text, latex, markdown, plain
from harness.report.evidence import best, groups
from harness.report.rows import Row
from harness.report.wording import count, duration, mean_and_spread, memory, metric_name, percent, score, settings

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
    shown = columns(rows)
    header = [column.name for column in shown]
    lines = [f"# {markdown(title)}", "", *(f"{markdown(sentence)}\n" for sentence in (*summary, *constants(rows)))]
    lines += [_line(header), _line(["--:" if column.numeric else "---" for column in shown])]
    tops = {id(best(group)) for group in groups(rows)}
    for row in rows:
        cells = [markdown(column.text(row)) for column in shown]
        lines.append(
            _line(
                [f"**{c}**" if id(row) in tops and col.bold and c else c for c, col in zip(cells, shown, strict=True)]
            )
        )
    return "\n".join(lines) + "\n"


def to_latex(rows: Sequence[Row]) -> str:
    r"""Write a tabular with booktabs rules, to be \input into a table environment."""
    shown = [column for column in columns(rows) if column.paper]
    head = " & ".join(latex(column.name) for column in shown)
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% {latex(sentence)}" for sentence in constants(rows)),
        rf"\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in shown)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
    ]
    tops = {id(best(group)) for group in groups(rows)}
    for row in rows:
        cells = [latex(plain(column.text(row), 80)).replace("±", r"$\pm$") for column in shown]
        bold = [
            rf"\textbf{{{c}}}" if id(row) in tops and col.bold and c else c for c, col in zip(cells, shown, strict=True)
        ]
        lines.append(rf"{' & '.join(bold)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def constants(rows: Sequence[Row]) -> list[str]:
    """Say once what is the same in every row, so that the table needs no column for it."""
    same = [
        f"{what} {getattr(rows[0].cell, what)}"
        for what in ("task", "model", "metric")
        if rows and len({getattr(row.cell, what) for row in rows}) == 1 and getattr(rows[0].cell, what)
    ]
    if rows and rows[0].cell.variant and not varies(rows, "variant"):
        same.append(settings(rows[0].cell.variant))
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


class Column:
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
        terminal: bool = True, least: int | None = None, width: int = 40,
    ) -> None:  # fmt: skip
        self.name, self.text, self.numeric, self.bold = name, text, numeric, bold
        self.paper, self.terminal, self.least, self.width = paper, terminal, least, width


def columns(rows: Sequence[Row]) -> list[Column]:
    """Give the columns of the tables for people; what is the same in every row needs none (see `constants`)."""
    metrics = {row.cell.metric for row in rows}
    one = metrics.pop() if len(metrics) == 1 else None
    # With one metric the header carries its name and unit, else every cell its own unit.
    head = f"{metric_name(one)}{', %' if percent(one) else ''}" if one else "score"
    named = [Column("method", lambda row: row.cell.method or row.cell.id, numeric=False, bold=True, width=20)]
    if varies(rows, "model"):
        named.append(Column("model", lambda row: row.cell.model, numeric=False, width=16))
    if varies(rows, "task"):
        named.insert(0, Column("task", lambda row: row.cell.task, numeric=False, width=16))
    if varies(rows, "variant"):
        named.append(Column("variant", lambda row: settings(row.cell.variant, " "), numeric=False, width=18))
    if one is None:
        named.append(Column("metric", lambda row: metric_name(row.cell.metric), numeric=False, width=10))
    return [
        *named,
        Column(f"test {head}", lambda row: mean_and_spread(row, unit=one is None), bold=True),
        Column("seeds", lambda row: str(len(row.seeds)) if row.seeds else "", terminal=len(named) < 4),
        Column(f"val {head}" if one is None else "val", lambda row: score(row.val_best, row.cell.metric, one is None)),
        Column("trainable", lambda row: count(row.params_trainable), terminal=len(named) < 3),
        Column("train", lambda row: duration(row.train_seconds)),
        Column("tuning", lambda row: duration(row.tune_seconds), terminal=len(named) < 4),
        Column("memory", lambda row: memory(row.peak_memory_mb), terminal=False),
        Column("trials", lambda row: str(row.trials) if row.trials else "", paper=False, terminal=False),
        Column(
            "hyperparameters", lambda row: settings(row.hyperparameters), numeric=False, paper=False, terminal=False
        ),
        Column("status", outcome, numeric=False, paper=any(row.status != "ok" for row in rows), least=12, width=34),
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
