"""The comparison table as CSV, Markdown and LaTeX: fractions in CSV, percentages in the others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from harness.api.cost import displayed
from harness.formatting.escape import csv_text, latex, markdown, plain
from harness.formatting.values import metric_name, percent, settings
from harness.records.states import CellOutcome
from harness.report.cells.cell_summary import CellSummary
from harness.report.tables.columns import FIELDS, Column, TableRow, field_of
from harness.report.tables.report import Report

# Columns of earlier versions keep their places; new ones follow.
_PLACED = (
    "task", "model", "method", "variant", "metric", "test_mean", "test_std", "n_seeds", "val_best", "trials", "failed",
    "params_trainable", "tune_seconds", "train_seconds", "peak_memory_mb", "hyperparameters",
    "test_values", "status", "error", "cell", "seeds", "unreadable",
    "study", "ci_low", "ci_high", "verdict", "gap", "gap_low", "gap_high", "detectable", "recommended", "pruned",
    "lost", "total_seconds", "saved_bytes", "latency_p50_seconds", "latency_p95_seconds", "throughput_per_second",
    "energy_joules", "accelerator_seconds", "core_seconds", "dollars", "tune_dollars", "ownership_dollars",
    "ownership_seconds", "evaluate_share", "worst_seed", "counted_mean", "failure_rate", "val_error", "val_default",
    "val_lead", "val_gap", "brier", "calibration_error", "pscp", "cost_std", "p_best", "p_within", "regret",
)  # fmt: skip
COLUMNS = tuple(dict.fromkeys((*_PLACED, *(name for name, field in FIELDS.items() if field.csv))))
_BEFORE = (
    "method", "model", "variant", "metric", "test_mean", "interval", "verdict", "p_best", "p_within", "n_seeds",
    "failure_rate", "val_best",
)  # fmt: skip
_AFTER = (*displayed("main"), *displayed("wide"), "trials", "status", "hyperparameters")
_DESIGN = ("task", "model", "variant", "metric")  # left out if equal in every row
_UNPRINTED = ("trials", "hyperparameters")  # too wide for a paper, or not useful in one


def to_csv(report: Report) -> str:
    """Write one row per cell with the columns of `COLUMNS`: fractions, seconds, megabytes, counts; unknown is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_row(case) for case in report.cases)
    return text.getvalue()


def to_markdown(report: Report) -> str:
    """Write a Markdown table, the best cell of each group in bold, with values that all rows share listed above it."""
    shown = fields(report)
    said = (*report.summary, *constants(report.rows))
    lines = [f"# {markdown(report.study.name)}", "", *(f"{markdown(sentence)}\n" for sentence in said)]
    lines += [
        _line([markdown(head(field, report)) for field in shown]),
        _line(["--:" if field.numeric else "---" for field in shown]),
    ]
    for case in report.cases:
        texts = [markdown(field.text(case)) for field in shown]
        lines.append(_line([f"**{t}**" if t and bold(f, case) else t for t, f in zip(texts, shown, strict=True)]))
    return "\n".join(lines) + "\n"


def to_latex(report: Report) -> str:
    r"""Write a tabular with booktabs rules, to be \input into a table environment."""
    shown = [field for field in fields(report) if report.columns or field.name not in _UNPRINTED]
    if not report.columns and all(row.status == CellOutcome.OK for row in report.rows):
        shown = [field for field in shown if field.name != "status"]
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% {latex(sentence)}" for sentence in constants(report.rows)),
        rf"\begin{{tabular}}{{{''.join('r' if field.numeric else 'l' for field in shown)}}}",
        r"\toprule",
        rf"{' & '.join(latex(head(field, report)) for field in shown)} \\",
        r"\midrule",
    ]
    for case in report.cases:
        texts = [latex(plain(field.text(case), 80)) for field in shown]
        cells = [rf"\textbf{{{t}}}" if t and bold(f, case) else t for t, f in zip(texts, shown, strict=True)]
        lines.append(rf"{' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def fields(report: Report) -> list[Column]:
    """Choose the columns of display tables: the requested ones, or else those that are informative for these rows."""
    if report.columns:
        return [field for name in report.columns if (field := field_of(name, report.rows)) is not None]
    before, after = list(_BEFORE), list(_AFTER)
    if varies(report.rows, "task"):
        before.insert(0, "task")
    cost = report.settings.cost
    if cost in after:
        after.remove(cost)
    before.append(cost)  # the cost that the recommendation minimizes, beside the verdict
    shown = []
    for name in (*before, *after):
        field = FIELDS[name]
        silent = name in _DESIGN and not varies(report.rows, name)
        empty = name not in ("method", "test_mean", "status") and not any(field.text(case) for case in report.cases)
        if not (silent or empty):
            shown.append(field)
    return shown


def head(field: Column, report: Report, short: bool = False) -> str:
    """Return the header of a column; for the test score with metric and unit, if all rows share the metric."""
    if field.name == "interval":
        return f"{100 * report.settings.confidence:.4g} % {field.head}"
    if field.name != "test_mean":
        return field.head
    metrics = {row.cell.metric for row in report.rows}
    if len(metrics) != 1:
        return f"{field.head} score"
    metric = metrics.pop()
    return f"{field.head}{'' if short else ' ' + metric_name(metric)}{', %' if percent(metric) else ''}"


def bold(field: Column, case: TableRow) -> bool:
    """Return whether a cell of the table is bold: name and score of the best row of each group."""
    return case.row is case.question.best and field.name in ("method", "test_mean")


def constants(rows: Sequence[CellSummary]) -> list[str]:
    """List the values that all rows share, so that the table needs no column for them."""
    same = [
        f"{what} {getattr(rows[0].cell, what)}"
        for what in ("task", "model", "metric")
        if rows and not varies(rows, what) and getattr(rows[0].cell, what)
    ]
    if rows and rows[0].cell.variant and not varies(rows, "variant"):
        same.append(settings(rows[0].cell.variant))
    return [f"In every row: {', '.join(same)}."] if same else []


def varies(rows: Sequence[CellSummary], what: str) -> bool:
    """Return whether an attribute of the cells differs between rows."""
    return len({str(getattr(row.cell, what)) for row in rows}) > 1


def _csv_row(case: TableRow) -> dict[str, Any]:
    row = case.row
    special = {
        "variant": _json(row.cell.variant) if row.cell.variant else None,
        "hyperparameters": _json(row.hyperparameters) if row.hyperparameters else None,
        "test_values": _json(row.test_values) if row.test_values else None,
        "seeds": _json(row.seeds) if row.seeds else None,
    }
    return {name: special[name] if name in special else _csv_value(FIELDS[name].value(case)) for name in COLUMNS}


def _csv_value(value: Any) -> Any:
    return (csv_text(plain(value)) or None) if isinstance(value, str) else value


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
