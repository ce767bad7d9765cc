"""The page of a study: one HTML file that needs no network, shows the table, the figures and every run behind them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from harness.record import Record
from harness.report import wording
from harness.report.escape import plain
from harness.report.evidence import basis, best, groups, within_two
from harness.report.figures import INK, PAPER, RULE, Drawing
from harness.report.load import Study, flat
from harness.report.rows import Row, facts, mean_std, metric, number
from harness.report.table import constants, outcome, status, varies

_TRACE_WIDTH, _TRACE_HEIGHT = 320.0, 72.0  # of the tuning trace, in user units
_MOST_NOTES = 40  # a disk that was full leaves many unreadable records
# Facts that the page words itself, or shows elsewhere.
_UNLISTED = ("warnings", "selected_with")


@dataclass(frozen=True)
class Trace:
    """Validation scores by trial, placed in a box of `_TRACE_WIDTH` x `_TRACE_HEIGHT`.

    Attributes:
        dots: (x, y, text) a trial.
        line: points of the best score so far, for `<polyline>`.
        low, high: the scores at the lower and the upper edge, worded.
    """

    dots: list[tuple[float, float, str]]
    line: str
    low: str
    high: str


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
        trace=_trace,
        box=(_TRACE_WIDTH, _TRACE_HEIGHT),
        metrics=_metrics,
        costs=_costs,
        provenance=_provenance,
        metric=metric,
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


def _latest(row: Row) -> list[Record]:
    """Choose the one record that speaks for a cell's data; [] if no run got as far as its data."""
    candidates = [*row.evaluated, *([row.best_trial] if row.best_trial else []), *(run.record for run in row.cell.runs)]
    return [record for record in candidates if record.data][:1]


def _trace(row: Row) -> Trace | None:
    trials = [run.record for run in row.cell.runs if run.record.phase == "tune" and run.record.trial is not None]
    name = row.cell.metric
    scored = [
        (record.trial or 0, value, record.status)
        for record in trials
        if (value := metric(record, "val", name)) is not None
    ]
    if len(scored) < 2:
        return None
    values = [value for _, value, _ in scored]
    low, high, last = min(values), max(values), max(trial for trial, _, _ in scored)

    def place(trial: int, value: float) -> tuple[float, float]:
        x = _TRACE_WIDTH * (trial / last if last else 0.5)
        y = _TRACE_HEIGHT * (1 - ((value - low) / (high - low) if high > low else 0.5))
        return round(x, 1), round(y, 1)

    line: list[tuple[float, float]] = []
    leader: float | None = None
    for trial, value, ended in scored:
        if ended == "ok" and (leader is None or row.better(value) > row.better(leader)):
            if leader is not None:
                line.append(place(trial, leader))
            leader = value
            line.append(place(trial, leader))
    if leader is not None:
        line.append(place(last, leader))
    dots = [(*place(t, v), f"trial {t}: {wording.score(v, name, unit=True)}, {status}") for t, v, status in scored]
    points = " ".join(f"{x},{y}" for x, y in line)
    return Trace(dots, points, wording.score(low, name, unit=True), wording.score(high, name, unit=True))


def _metrics(row: Row) -> list[tuple[str, str, str]]:
    """Give every metric of a cell: name, validation (of the best trial), test (mean and spread over seeds)."""
    names = dict.fromkeys(
        name
        for record in (*row.evaluated, *([row.best_trial] if row.best_trial else []))
        for split in ("test", "val")
        for name in record.metrics.get(split, {})
    )
    lines = []
    for name in names:
        mean, std = mean_std(value for record in row.evaluated if (value := metric(record, "test", name)) is not None)
        test = wording.score(mean, name) + (f" ± {wording.score(std, name)}" if std is not None else "")
        val = metric(row.best_trial, "val", name) if row.best_trial else None
        unit = ", %" if wording.percent(name) else ""
        lines.append((f"{wording.metric_name(name)}{unit}", wording.score(val, name), test))
    return lines


def _costs(row: Row) -> list[tuple[str, str]]:
    """Give what a confirmed run costs: means over the confirmed runs, else of the best trial."""
    records = row.evaluated or ((row.best_trial,) if row.best_trial else ())
    lines = []
    for key in dict.fromkeys(key for record in records for key in record.cost):
        known = [value for record in records if (value := number(record.cost.get(key))) is not None]
        mean, _ = mean_std(known)
        if mean is not None:
            lines.append(
                (
                    key.removesuffix("_seconds").removesuffix("_mb").removesuffix("_bytes").replace("_", " "),
                    _cost(key, mean),
                )
            )
        else:
            lines.append((key.replace("_", " "), wording.settings({"": records[0].cost.get(key)}).removeprefix("=")))
    return lines


def _cost(key: str, value: float) -> str:
    if key.endswith("_seconds"):
        return wording.duration(value)
    if key.endswith("_bytes"):
        return wording.memory(value / 1e6)
    if key.endswith("_mb"):
        return wording.memory(value)
    return wording.count(value) if value == int(value) or value >= 1000 else f"{value:.3g}"


def _provenance(row: Row) -> list[tuple[str, str]]:
    """Give where and with what a cell's runs were made; a key on which runs differ names all its values."""
    values: dict[str, dict[str, None]] = {}
    for record in _settled(row):
        for key, value in flat(_strings(record.provenance)).items():
            values.setdefault(key, {})[wording.setting(value)] = None
    return [(key, wording.listed(list(seen), 4)) for key, seen in values.items()]


def _settled(row: Row) -> Iterable[Record]:
    return row.evaluated or (run.record for run in row.cell.runs)


def _strings(content: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in content.items()}
