"""Terminal output of `python -m harness.status`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.formatting.escape import plain
from harness.formatting.values import duration, percent, score
from harness.records.run_spec import study_argument
from harness.records.states import RunStatus, StudyEnd, StudyState, Unfinished
from harness.records.study_files import record_of
from harness.status import discovery
from harness.status.study_status import StudyStatus

FAILURES = 5  # maximum number of errors shown; the others are counted
JOBS = 20  # maximum number of rows shown; the others are counted

_STYLES = {
    "running": "green", "queued": "cyan", "stopped": "yellow", "failed": "red", "waiting": "dim", "done": "green",
    "RUNNING": "green", "PENDING": "cyan",
}  # fmt: skip


def overview(studies: Sequence[StudyStatus], runs_dir: Path) -> list[RenderableType]:
    """Return a table with one row per study, latest first."""
    if not studies:
        return [Text(f"There are no studies in {runs_dir}.")]
    table = _new_table(
        "study", "state", ">cells", ">ended", ">failed", ">running", ">queued", "last activity", fold="study"
    )
    for study in sorted(studies, key=lambda study: study.activity or 0, reverse=True):
        numbers = (
            study.runs[RunStatus.OK] + study.runs[RunStatus.PRUNED],
            study.runs[RunStatus.FAILED],
            study.runs[Unfinished.RUNNING],
        )
        table.add_row(
            _plain(study.name), _state(study.state), str(len(study.cells)), *(str(number or "") for number in numbers),
            str(study.runs[Unfinished.QUEUED] or ""), ago(study.activity),
        )  # fmt: skip
    return [table]


def detail(study: StudyStatus) -> list[RenderableType]:
    """Return the parts of the view of one study; the terminal may wrap texts, but not tables."""
    parts: list[RenderableType] = [_headline(study)]
    if study.cells:
        parts += [Text(), _cell_table(study)]
    if study.tasks and (jobs := _job_table(study)) is not None:
        parts += [Text(), jobs]
    if study.failures:
        parts += [Text(), *_failures(study)]
    for name in study.unreadable[:FAILURES]:
        parts.append(Text(f"Unreadable: {record_of(name)}", style="yellow"))
    if advice := _advice(study):
        parts += [Text(), Text(advice, style="dim")]
    return parts


def _headline(study: StudyStatus) -> Text:
    text = Text.assemble((plain(study.name), "bold"), ": ", _state(study.state))
    who = study.holder or {}
    process = f"process {who.get('pid')} on {who.get('host')}"
    job = study.coordinator
    if study.state == StudyState.RUNNING and who:
        text.append(f", coordinated by {process}{_duration(who.get('since'))}")
    elif study.state == StudyState.STOPPED and _spent(study):
        text.append(" by its budget")
    elif study.state == StudyState.STOPPED and who:
        text.append(f"; its coordinator ({process}) died")
    if job is not None and study.state in (StudyState.RUNNING, StudyState.QUEUED):
        facts = ", ".join(part for part in (job["state"], job["reason"], job["node"]) if part)
        text.append(
            f", as job {job['job_id']}" if study.state == StudyState.RUNNING else f", waiting for job {job['job_id']}"
        )
        text.append(f" ({facts})" if facts else "")
        if study.state == StudyState.QUEUED:
            text.append(_duration(job.get("submitted")))
    counts = [f"{number} {name}" for name, number in study.runs.items() if number]
    text.append(f"\nRuns: {', '.join(counts) or 'none yet'}. Last activity {ago(study.activity) or 'unknown'}.")
    return text


def _cell_table(study: StudyStatus) -> Table:
    counts = ("running", "queued", "paused", "interrupted", "failed")
    shown = [name for name in counts if any(getattr(cell, name) for cell in study.cells)]
    tuned = any(cell.tuned or cell.trials is None or cell.trials for cell in study.cells)
    scored = any(cell.best is not None for cell in study.cells)
    names = [*(["tuned", "confirmed"] if tuned else ["ended"]), *shown, *(["best val"] if scored else [])]
    table = _new_table("cell", *(f">{name}" for name in names), "", fold="cell")
    table.columns[0].min_width = min(18, max(len(cell.id) for cell in study.cells))
    table.columns[-1].min_width = max(len(cell.state) for cell in study.cells)
    for cell in study.cells:
        of = f"/{cell.trials}" if cell.trials is not None else ""
        best = score(cell.best, cell.metric, unit=True)
        table.add_row(
            _plain(cell.id), *([f"{cell.tuned}{of}"] if tuned else []), f"{cell.confirmed}/{cell.seeds}",
            *(Text(str(getattr(cell, name) or ""), style=_STYLES.get(name, "")) for name in shown),
            *([best if not best or percent(cell.metric) else f"{best} {cell.metric}"] if scored else []),
            _state(cell.state),
        )  # fmt: skip
    return table


def _job_table(study: StudyStatus) -> Table | None:
    """Return a table of the jobs that are not over, grouped by submission and state."""
    groups: dict[tuple[str, ...], list[discovery.ClusterTask]] = {}
    for task in study.tasks:
        if not task.over:
            key = (task.job or task.name, task.state, task.reason, task.node)
            groups.setdefault(key, []).append(task)
    if not groups:
        return None
    table = _new_table("job", ">runs", "state", "node", "reason", fold="reason")
    for (_, state, reason, node), tasks in list(groups.items())[:JOBS]:
        runs = sum(len(task.runs) for task in tasks)
        told = state or ("no look yet" if tasks[0].job else "not submitted yet")
        table.add_row(_plain(_job(tasks)), str(runs), _state(plain(told)), _plain(node), _plain(reason))
    if len(groups) > JOBS:
        table.add_row(Text(f"and {len(groups) - JOBS} more", style="dim"))
    if study.looked_at:
        table.caption = f"as of {ago(discovery.seconds(study.looked_at))}"
        table.caption_justify = "left"
    return table


def _job(tasks: Sequence[discovery.ClusterTask]) -> str:
    """Name tasks of one submission as the scheduler does: `17_3`, `17_[0-2,5]`; before submission, by its name."""
    if not tasks[0].id:
        return tasks[0].name
    numbers = sorted(int(task.id.rsplit("_", 1)[1]) for task in tasks)
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return f"{tasks[0].job}_{numbers[0]}" if len(numbers) == 1 else f"{tasks[0].job}_[{','.join(parts)}]"


def _failures(study: StudyStatus) -> list[Text]:
    """Return the failures, latest first; runs of a cell with the same error share a line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for failure in study.failures:
        error = plain(str(failure["error"] or "without a message"), 300)
        groups.setdefault((failure["run"].split("/")[0], error), []).append(failure["run"])
    lines = []
    for (_, error), names in list(groups.items())[:FAILURES]:
        more = f" and {len(names) - 1} more of the cell" if len(names) > 1 else ""
        lines.append(Text.assemble((f"{plain(names[0])}{more}: ", "red"), error))
    rest = sum(len(names) for names in list(groups.values())[FAILURES:])
    command = f"python -m harness.logs {study_argument(study.directory)} {study.failures[0]['run']}"
    return [*lines, Text(f"{f'And {rest} more. ' if rest else ''}The full log of one: {command}", style="dim")]


def _spent(study: StudyStatus) -> str:
    """Return a sentence on what the budget left undone; "" if the budget did not end the study."""
    outcome = study.outcome or {}
    return (
        plain(str(outcome.get("note") or "Stopped by its budget.")) if outcome.get("ended") == StudyEnd.BUDGET else ""
    )


def _advice(study: StudyStatus) -> str:
    if study.state in (StudyState.DONE, StudyState.STOPPED) and (spent := _spent(study)):
        report = f"python -m harness.report {shlex.quote(str(study.directory))}"
        return f"{spent} To go on, run its command again with a larger budget. The report so far: {report}"
    if study.state == StudyState.DONE:
        return f"The report: python -m harness.report {shlex.quote(str(study.directory))}"
    if study.state != StudyState.STOPPED or not study.cells:
        return ""
    lives = any(not task.over for task in study.tasks)
    jobs = " Its jobs may still run; they leave their results to be study." if lives else ""
    return f"It has no coordinator.{jobs} To continue, run the command that started it again."


def _new_table(*columns: str, fold: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.startswith(">")
        bare = name.removeprefix(">")
        table.add_column(
            bare, justify="right" if right else "left", no_wrap=bare != fold, overflow="fold", min_width=len(bare)
        )
    return table


def _state(state: str) -> Text:
    return Text(state, style=_STYLES.get(state, ""))


def _plain(text: str, limit: int | None = None) -> Text:
    return Text(plain(text, limit))  # Text, not str: rich would interpret markup in names


def _duration(stamp: Any) -> str:
    moment = discovery.seconds(str(stamp))
    return f" for {duration(max(0.0, time.time() - moment))}" if moment is not None else ""


def ago(moment: float | None) -> str:
    """Format a time relative to now: `12 s ago`, `3.4 h ago`; "" if it is unknown."""
    return "" if moment is None else f"{duration(max(0.0, time.time() - moment))} ago"
