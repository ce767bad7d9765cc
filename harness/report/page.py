"""The page of a study: one HTML file that needs no network, shows the table, the figures and every run behind them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from harness.record import Record
from harness.report import wording
from harness.report.details import details
from harness.report.escape import json_text, plain
from harness.report.evidence import basis, best, groups, within_two
from harness.report.figures import INK, PAPER, RULE, Drawing
from harness.report.load import Study, flat
from harness.report.rows import Row, facts, number
from harness.report.table import constants, outcome, status, varies

_MOST_NOTES = 40  # a disk that was full leaves many unreadable records
# Facts that the page words itself, or shows elsewhere.
_UNLISTED = ("warnings", "selected_with")


def page(study: Study, rows: Sequence[Row], summary: Sequence[str], drawings: Sequence[Drawing], written: str) -> str:
    """Render index.html.

    Args:
        study: as loaded.
        rows: its aggregated cells, in the order of the table.
        summary: sentences for the top of the page.
        drawings: figures, shown inline.
        written: when the report was made, ISO 8601.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": lambda value, limit=None: plain(str(value), limit),
        "number": number,
        "setting": wording.setting,
        "settings": wording.settings,
        "duration": wording.duration,
        "count": wording.count,
        "memory": wording.memory,
        "metric_name": wording.metric_name,
    }
    told = details(rows)
    style, script = (_source(environment, name) for name in ("style.css", "page.js"))
    tops = [top for group in groups(rows) if (top := best(group))]
    tied = {id(row) for group in groups(rows) if (top := best(group)) for row in group if within_two(top, row)}
    return environment.get_template("index.html.j2").render(
        study=study,
        rows=rows,
        summary=summary,
        basis=basis(rows),
        notes=_notes(study, rows),
        constants=constants(rows),
        show={what: varies(rows, what) for what in ("task", "model", "metric", "variant")},
        tops={id(top) for top in tops},
        tied=tied - {id(top) for top in tops},
        figures=[(drawing, Markup(_inline(drawing.svg))) for drawing in drawings],
        data=_data(rows),
        asked=_asked(study),
        written=written,
        runs=sum(len(row.cell.runs) + row.cell.unreadable for row in rows),
        id=id,
        wording=wording,
        outcome=outcome,
        status=status,
        place=place,
        # JSON in which nothing can end the element that holds it.
        details=Markup(json_text(told.content)),
        left_out=told.left_out,
        # Files of this package, not text of a study.
        style=Markup(style),
        script=Markup(script),
        # Scripts other than the page's own never run, and nothing is ever loaded, whatever text a study holds.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None  # set above
    return environment.loader.get_source(environment, name)[0]


def _inline(svg: str) -> str:
    """Fit a figure into a page: its width, and the page's colours. Names in it were escaped by matplotlib's writer."""
    body = svg[svg.index("<svg") :]
    head, rest = body.split(">", maxsplit=1)
    view = head[head.index('viewBox="') :].split('"')[1]
    # Groups are numbered from 1 in every figure, and nothing refers to them.
    rest = re.sub(r'<g id="[^"]*"', "<g", rest)
    for color, replacement in ((INK, "currentColor"), (RULE, "var(--rule)"), (PAPER, "none")):
        rest = rest.replace(f": {color}", f": {replacement}")
    return f'<svg viewBox="{view}" xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true">{rest}'


def _notes(study: Study, rows: Sequence[Row]) -> list[str]:
    """Collect what a reader must know before the numbers: how configurations were selected, and every warning once."""
    notes: dict[str, None] = dict.fromkeys(study.warnings)
    for row in rows:
        for record in _latest(row):
            known = facts(record)
            selected = known.get("selected_with")
            if selected:
                notes[f"Hyperparameters were {selected} ({row.cell.task})."] = None
            warnings = known.get("warnings")
            for warning in warnings if isinstance(warnings, list) else []:
                notes[f"{row.cell.task}: {warning}"] = None
        if row.superseded:
            text = wording.plural(row.superseded, "confirmed run")
            notes[f"{wording.name(row, rows)}: {text} of an earlier choice of hyperparameters or data not counted."] = (
                None
            )
    listing = list(notes)
    rest = len(listing) - _MOST_NOTES
    return [*listing[:_MOST_NOTES], f"And {rest} more of the kind."] if rest > 0 else listing


def _data(rows: Sequence[Row]) -> list[tuple[dict[str, Any], list[int]]]:
    """Give each distinct set of facts about data once, with the numbers of the rows that it belongs to."""
    found: list[tuple[dict[str, Any], list[int]]] = []
    for index, row in enumerate(rows, start=1):
        for record in _latest(row):
            known = {key: value for key, value in flat(facts(record)).items() if key not in _UNLISTED}
            for other, members in found:
                if other == known:
                    members.append(index)
                    break
            else:
                if known:
                    found.append((known, [index]))
    return found


def _asked(study: Study) -> dict[str, Any]:
    """Give what the study asked besides its cells: budget, sampler, seeds."""
    keys = ("created", "harness", "question", "tune", "confirm")
    return flat({key: study.sweep[key] for key in keys if study.sweep.get(key) is not None})


def place(row: Row) -> str:
    """Tell where a cell's runs lie, from the directory that holds the studies."""
    if not row.cell.runs:
        return ""
    directory = row.cell.runs[0].paths.directory
    return "/".join(directory.parts[-4:-1])


def _latest(row: Row) -> list[Record]:
    """Choose the one record that speaks for a cell's data; [] if no run got as far as its data."""
    candidates = [*row.evaluated, *([row.best_trial] if row.best_trial else []), *(run.record for run in row.cell.runs)]
    return [record for record in candidates if record.data][:1]
