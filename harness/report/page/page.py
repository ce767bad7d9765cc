"""The page of a study: one HTML file that needs no network, with the recommendation, its reasons and every run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from harness import formatting
from harness.api.cost import displayed, reported
from harness.formatting.escape import json_text, plain
from harness.records.states import CellOutcome
from harness.report.analysis.across import across
from harness.report.analysis.caveats import latest, notes
from harness.report.analysis.ownership import owning
from harness.report.analysis.pareto import front
from harness.report.analysis.plan_outcome import planned
from harness.report.cells import row_names
from harness.report.cells.cell_summary import CellSummary, facts
from harness.report.figures import INK, PAPER, RULE, Drawing
from harness.report.page import cell_details
from harness.report.page.forest import HEIGHT, WIDTH, marks
from harness.report.page.hard_rows import hard_rows
from harness.report.page.page_data import details
from harness.report.reading.study import Study, flat
from harness.report.tables.columns import FIELDS, VERDICTS, Column, TableRow
from harness.report.tables.pivot import grid
from harness.report.tables.pivot import title as pivot_title
from harness.report.tables.report import Report
from harness.report.tables.table import bold, constants, fields, head

MOST_ROWS = 1000  # maximum rows of the page's table; more would make it slow, and nobody reads them
FIGURE_BYTES = 3_000_000  # maximum size of inlined figures; the others are files beside the page
_ACROSS = ("ranks-", "profile-")  # name prefixes of figures across tasks
_UNPRINTED = ("p_best",)  # columns that an A4 sheet has no room for
# Facts that the page shows in its own words or elsewhere.
_UNLISTED = ("warnings", "selected_with")


def page(report: Report, drawings: Sequence[Drawing], written: str) -> str:
    """Render index.html.

    Args:
        report: the content.
        drawings: figures to inline.
        written: when the report was made, ISO 8601.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": _plain, "setting": formatting.setting}
    style, script = (_source(environment, name) for name in ("style.css", "page.js"))
    found, shown, study = report.evidence, report.cases[:MOST_ROWS], report.study
    told = details([case.row for case in shown])
    figures = _figures(drawings)
    columns = _columns(report)
    recommendations = [question.recommendation for question in found.questions]
    answers = [(each.answer, each.recommendation.removeprefix(each.answer).strip()) for each in found.questions]
    return environment.get_template("index.html.j2").render(
        report=report,
        study=study,
        cases=shown,
        answers=answers,
        rest=[sentence for sentence in report.summary if sentence not in recommendations],
        notes=notes(study, [row for question in found.questions for row in question.rows], found, report.hidden),
        constants=constants(report.rows),
        columns=columns,
        unprinted=[place for place, field in enumerate(columns, start=1) if field.name in _UNPRINTED],
        key=next((field for field in columns if field.name == "method"), columns[0]),
        text_of=_text,
        sort_value=_sort_value,
        first={True: "descending", False: "ascending"},
        head_of=lambda field: (
            "hyperparameters or error" if field.name == "hyperparameters" else head(field, report, True)
        ),
        bold=bold,
        hint_of=_hint,
        verdict=FIELDS["verdict"],
        id=id,
        gap_of=FIELDS["ahead"].text,
        margin=row_names.margin(report.settings.margin, report.rows),
        marks=marks(shown),
        box=(WIDTH, HEIGHT),
        pivot=grid(report) if report.pivot is not None else None,
        pivot_title=pivot_title,
        across=across(found),
        fronts=[found_ for each in found.questions if (found_ := front(each.rows, study.sweep)) is not None],
        figures=figures,
        elsewhere=[drawing for drawing in drawings if drawing.name not in {each.name for each, _ in figures}],
        hardest=hard_rows(found),
        costs=_cost_fields(shown),
        owning=owning(found),
        plans=[(each.name, known) for each in report.studies if (known := planned(each.directory)) is not None],
        data=_data([case.row for case in shown]),
        provenance=_provenance(report.rows),
        asked=_asked(study),
        written=written,
        runs=sum(len(row.cell.runs) + row.cell.unreadable for row in report.rows),
        wording=row_names,
        place=_place,
        # JSON whose strings cannot close the script element around it.
        details=Markup(json_text(told.content)),
        left_out=told.left_out,
        # Files of this package, not text of a study, so not escaped.
        style=Markup(style),
        script=Markup(script),
        # For the content security policy: only this script runs and nothing is loaded, whatever text a study has.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _plain(value: Any, limit: int | None = None) -> str:
    return plain(str(value), limit)


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None  # set above
    return environment.loader.get_source(environment, name)[0]


def _figures(drawings: Sequence[Drawing]) -> list[tuple[Drawing, Markup]]:
    """Choose the figures to inline: as many as keep the page small, those across tasks first."""
    fitted = [(drawing, Markup(_inline(drawing.svg))) for drawing in drawings]
    room, kept = FIGURE_BYTES, set()
    for drawing, svg in sorted(fitted, key=lambda pair: not pair[0].name.startswith(_ACROSS)):
        room -= len(svg.encode())
        if room < 0:
            break
        kept.add(drawing.name)
    return [(drawing, svg) for drawing, svg in fitted if drawing.name in kept]


def _inline(svg: str) -> str:
    """Fit a figure into the page: its width, and the page's colors. Matplotlib's writer has escaped its text."""
    body = svg[svg.index("<svg") :]
    opening, rest = body.split(">", maxsplit=1)
    view = opening[opening.index('viewBox="') :].split('"')[1]
    # Group ids start at 1 in every figure, so they would collide; nothing refers to them.
    rest = re.sub(r'<g id="[^"]*"', "<g", rest)
    for color, replacement in ((INK, "currentColor"), (RULE, "var(--rule)"), (PAPER, "none")):
        rest = rest.replace(f": {color}", f": {replacement}")
    return f'<svg viewBox="{view}" xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true">{rest}'


def _columns(report: Report) -> list[Column]:
    """Choose the columns of the page's table; costs that do not decide are in a separate table."""
    if report.columns:
        return fields(report)
    elsewhere = {*reported()} - {*displayed("main"), report.settings.cost}
    return [field for field in fields(report) if field.name not in elsewhere]


def _text(field: Column, case: TableRow) -> str:
    """Return the text of a cell of the page's table, which shows a failed row's error instead of hyperparameters."""
    row = case.row
    if field.name == "status":
        return row_names.status(row)
    if field.name == "hyperparameters" and row.status == CellOutcome.FAILED:
        return row.error or "no message"
    return field.text(case)


def _sort_value(field: Column, case: TableRow) -> Any:
    """Return the value that a column sorts by; verdicts sort from best to worst."""
    value = field.value(case)
    if field.name == "verdict" and value in VERDICTS:
        return VERDICTS.index(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, int) else plain(str(value), 80)


def _hint(field: Column, case: TableRow) -> str:
    """Return a tooltip that says more about a value."""
    verdict, metric = case.judgement.verdict, case.row.cell.metric
    if field.name == "verdict" and verdict is not None:
        low, high = formatting.signed(verdict.low, metric), formatting.signed(verdict.high, metric)
        gap = formatting.score(verdict.gap, metric) if verdict.gap else "no"
        models = "; one seed, so it holds for these trained models only" if verdict.scope == "models" else ""
        return (
            f"{gap} gap to the best mean; against the best other cell {low} to {high}; gaps from "
            f"{formatting.score(verdict.detectable, metric)} on would have been found{models}"
        )
    if field.name == "test_mean" and case.row.test_values:
        values = ", ".join(formatting.score(value, metric) for value in case.row.test_values)
        return plain(f"by seed: {values}", 400)
    return ""


def _cost_fields(shown: Sequence[TableRow]) -> list[Column]:
    """Choose the costs that are known for any row."""
    return [FIELDS[name] for name in reported() if any(FIELDS[name].value(case) is not None for case in shown)]


def _data(rows: Sequence[CellSummary]) -> list[tuple[dict[str, Any], list[int]]]:
    """Return each distinct set of facts about data once, with the numbers of its rows."""
    found: list[tuple[dict[str, Any], list[int]]] = []
    for index, row in enumerate(rows, start=1):
        for record in latest(row):
            known = {key: value for key, value in flat(facts(record)).items() if key not in _UNLISTED}
            for other, members in found:
                if other == known:
                    members.append(index)
                    break
            else:
                if known:
                    found.append((known, [index]))
    return found


def _provenance(rows: Sequence[CellSummary]) -> list[tuple[str, str]]:
    """Return where and with what all runs were made; each cell's details show its own values."""
    values: dict[str, dict[str, None]] = {}
    for row in rows:
        for key, value in cell_details.provenance(row):
            values.setdefault(key, {})[value] = None
    return [(key, formatting.listed(list(seen), 4)) for key, seen in values.items()]


def _asked(study: Study) -> list[tuple[str, str]]:
    """Return what the study requested besides its cells: budget, sampler, seeds, machine."""
    keys = ("created", "harness", "tune", "confirm", "hardware")
    asked = flat({key: study.sweep[key] for key in keys if study.sweep.get(key) is not None})
    return [(key, formatting.setting(value)) for key, value in asked.items()]


def _place(row: CellSummary) -> str:
    """Return where a cell's runs are, relative to the directory that holds the studies."""
    if not row.cell.runs:
        return ""
    return "/".join(row.cell.runs[0].paths.directory.parts[-4:-1])
