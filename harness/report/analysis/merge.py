"""Merge several studies into one report, so that rows of different studies stay distinguishable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.config.kinds import named
from harness.errors import HarnessError
from harness.records.signature import digest
from harness.report.cells.cell_summary import CellSummary, facts, rows
from harness.report.reading.study import Cell, Study, flat, run_config


def merge(studies: Sequence[Study], title: str | None = None) -> tuple[Study, list[CellSummary]]:
    """Merge studies.

    Args:
        studies: as loaded, at least one.
        title: name of the result; None joins the studies' names.

    Returns:
        The study of the report, and its cell summaries. A cell that occurs in several studies has a summary for each,
        with the study as an axis. Cells of one task with different data belong to different comparison groups: the task
        settings that differ become axes, too.

    Raises:
        HarnessError: a study is given twice.
    """
    if len(studies) == 1:
        only = studies[0] if title is None else replace(studies[0], name=title)
        return only, rows(only)
    twice = [str(path) for path, times in Counter(study.directory.resolve() for study in studies).items() if times > 1]
    if twice:
        raise HarnessError(f"A study can stand in a report once, but {', '.join(twice)} is given twice.")
    names = _names(studies)
    _tell_data_apart(studies)
    coincide = Counter(_identity(cell) for study in studies for cell in study.cells)
    for name, study in zip(names, studies, strict=True):
        for cell in study.cells:
            if coincide[_identity(cell)] > 1:
                cell.variant = {**cell.variant, "study": name}
    merged = Study(
        name=title or " + ".join(names),
        directory=studies[0].directory.parent,
        sweep=_common([study.sweep for study in studies]) | _looks(studies),
        cells=[cell for study in studies for cell in study.cells],
        warnings=(
            *(f"{n}: {text}" for n, study in zip(names, studies, strict=True) for text in study.warnings),
            *_differing([study.sweep for study in studies]),
        ),
    )
    found = [row for study in studies for row in rows(study)]
    return merged, sorted(found, key=_rank)


def _names(studies: Sequence[Study]) -> list[str]:
    """Name studies by their directories, with their parent directories if names coincide."""
    names = [study.directory.resolve().name for study in studies]
    again = Counter(names)
    return [
        "/".join(study.directory.resolve().parts[-3:]) if again[name] > 1 else name
        for name, study in zip(names, studies, strict=True)
    ]


def _identity(cell: Cell) -> str:
    return digest([cell.task, cell.model, cell.method, cell.metric, _strings(cell.variant)])


def _tell_data_apart(studies: Sequence[Study]) -> None:
    """Make axes of the task settings in which cells of one comparison group differ, if their data differ."""
    questions: dict[str, list[tuple[Cell, dict[str, Any], str | None]]] = {}
    for study in studies:
        asked = {str(entry.get("id")): entry for entry in study.sweep.get("cells") or [] if isinstance(entry, dict)}
        for cell in study.cells:
            axes = {key: value for key, value in _strings(cell.variant).items() if key.startswith("task.")}
            key = digest([cell.task, cell.metric, axes])
            questions.setdefault(key, []).append((cell, _task(cell, asked.get(cell.id, {})), _fingerprint(cell, asked)))
    for members in questions.values():
        prints = {known for _, _, known in members if known is not None}
        if len(prints) < 2:
            continue
        keys = sorted({key for _, settings, _ in members for key in settings})
        differing = [key for key in keys if len({digest(settings.get(key)) for _, settings, _ in members}) > 1]
        for cell, settings, known in members:
            told = {key: settings[key] for key in differing if key in settings}
            # If no setting explains the different data, a file has changed.
            cell.variant = {**cell.variant, **(told or {"task.data": (known or "unknown")[:8]})}


def _task(cell: Cell, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's task settings, by override key."""
    question = entry.get("question")
    config = question.get("config") if isinstance(question, dict) else None
    if not isinstance(config, dict) and cell.runs:
        config = run_config(cell.runs[0])
    task = config.get("task") if isinstance(config, dict) else None
    skipped = ("task.metric", "task.kind", "task.name")
    known = flat(named({"task": task})) if isinstance(task, dict) else {}
    return {key: value for key, value in known.items() if key not in skipped and key not in cell.variant}


def _fingerprint(cell: Cell, asked: dict[str, Any]) -> str | None:
    for run in cell.runs:
        known = facts(run.record).get("fingerprint")
        if known:
            return str(known)
    question = asked.get(cell.id, {}).get("question")
    known = question.get("data") if isinstance(question, dict) else None
    return str(known) if known else None


def _differing(sweeps: Sequence[dict[str, Any]]) -> list[str]:
    """Warn of settings that differ between the studies although a report can use one value only."""
    used = {
        "report": "this report judges by its own settings, else by the defaults",
        "hardware": "each study's dollars are at its own price",
        "confirm": "verdicts are replayed over the looks of all of them, where any had looks",
    }
    return [
        f"The studies differ in `{key}`: {what}."
        for key, what in used.items()
        if len({digest(_plain(sweep.get(key))) for sweep in sweeps}) > 1
    ]


def _looks(studies: Sequence[Study]) -> dict[str, Any]:
    """Return the looks of all studies: the verdicts on all their cells are replayed over all of these looks."""
    found: set[int] = set()
    for study in studies:
        confirm = study.sweep.get("confirm")
        found |= {int(seeds) for seeds in (confirm.get("looks") or [] if isinstance(confirm, dict) else [])}
    return {"confirm": {"looks": sorted(found)}} if found else {}


def _common(sweeps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Keep the settings that all studies share, without cells, name and date of creation."""
    first = sweeps[0]
    same = {
        key
        for key in first
        if all(key in each and digest(_plain(each[key])) == digest(_plain(first[key])) for each in sweeps)
    }
    return {key: value for key, value in first.items() if key in same and key not in ("cells", "name", "created")}


def _plain(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value, default=str))


def _strings(values: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _rank(row: CellSummary) -> tuple[str, str, bool, float]:
    """Return a sort key: by comparison group, best first, then cells without a test score, as in one study."""
    task, axes, metric = row.question
    scored = row.test_mean if row.test_mean is not None else row.val_best
    return task, f"{axes} {metric}", row.test_mean is None, -row.better(scored) if scored is not None else float("inf")
