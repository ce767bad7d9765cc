"""Progress of a study, counted from its files: the data behind `python -m harness.status`.

Imports neither torch nor Optuna, so that it answers at once.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.launch.slurm.job_states import ENDED
from harness.records.files import last_changed
from harness.records.record import PAUSED, CorruptRecord, Record
from harness.records.states import FAILURES, CellState, RunStatus, StudyState, Unfinished
from harness.records.study_files import DamagedFile, StudyPaths
from harness.status import discovery
from harness.status.cell_status import CellStatus, cells

SINGLE_QUIET = 600  # seconds without a file change after which a single run counts as stopped


@dataclass(frozen=True)
class StudyStatus:
    """Status of a study at one moment.

    Attributes:
        state: whether it goes on.
        holder: its coordinator, alive or crashed: {pid, host, since}; None if there is none.
        coordinator: see `harness.status.discovery.coordinator_job`.
        runs: number of runs by `ok`, `pruned`, `failed` (includes lost ones), `running`, `queued`, `paused` (at a rung,
            until the promotion decision), `interrupted`.
        looked_at: when the states of `tasks` were queried.
        failures: failed runs, latest first: {run, status, error, ended}.
        unreadable: runs with an unreadable record.
        activity: last change of any of its files, seconds since the epoch.
        outcome: content of outcome.json; None if it is missing.
    """

    name: str
    directory: Path
    state: StudyState
    holder: dict[str, Any] | None
    coordinator: dict[str, Any] | None
    cells: list[CellStatus]
    runs: dict[str, int]
    tasks: list[discovery.ClusterTask]
    looked_at: str | None
    failures: list[dict[str, Any]]
    unreadable: list[str]
    activity: float | None
    outcome: dict[str, Any] | None


@dataclass
class _Runs:
    """The runs of a study, by `<cell>/<run>`: records, and states of those that have not ended."""

    records: dict[str, Record] = field(default_factory=dict)
    doing: dict[str, Unfinished] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    changed: dict[str, float] = field(default_factory=dict)


def survey(directory: Path) -> StudyStatus:
    """Return the status of a study."""
    paths = StudyPaths(directory)
    asked = _asked(directory, last_changed(paths.sweep))
    held = discovery.held(directory)
    holder = paths.read_holder() or None
    job = discovery.coordinator_job(directory)
    tasks = discovery.tasks(directory)
    runs = _read(paths)
    _set_run_states(runs, tasks, directory, held, holder, single=not asked)
    cell_statuses = cells(asked, _choices(directory), runs.records, runs.doing)
    queued = job is not None and job["state"] not in ENDED and not _started_after(holder, job)
    if held:
        state = StudyState.RUNNING
    elif queued:
        state = StudyState.QUEUED
    elif not asked:  # single runs have no coordinator
        doing = set(runs.doing.values())
        ended = StudyState.STOPPED if doing or not runs.records else StudyState.DONE
        state = StudyState.RUNNING if Unfinished.RUNNING in doing else ended
    else:
        over = all(cell.state in (CellState.DONE, CellState.FAILED) for cell in cell_statuses)
        state = StudyState.DONE if cell_statuses and over else StudyState.STOPPED
    failures = [(name, record) for name, record in runs.records.items() if record.status in FAILURES]
    failures.sort(key=lambda pair: pair[1].ended or "", reverse=True)
    finished = Counter(record.status for name, record in runs.records.items() if name not in runs.doing)
    doing_now = Counter(runs.doing.values())
    files = (paths.sweep, paths.choices, paths.journal, paths.coordinator)
    times = [*runs.changed.values(), *map(last_changed, files)]
    return StudyStatus(
        name=directory.resolve().name, directory=directory, state=state, holder=holder, coordinator=job,
        cells=cell_statuses,
        runs={
            RunStatus.OK: finished[RunStatus.OK], RunStatus.PRUNED: finished[RunStatus.PRUNED],
            RunStatus.FAILED: sum(finished[status] for status in FAILURES),
            **{doing: doing_now[doing] for doing in Unfinished},
        },
        tasks=tasks, looked_at=discovery.looked_at(directory),
        failures=[
            {"run": name, "status": record.status, "error": record.error, "ended": record.ended}
            for name, record in failures
        ],
        unreadable=runs.unreadable, activity=max(times) or None,
        outcome=paths.read_outcome() or None,
    )  # fmt: skip


def _read(study: StudyPaths) -> _Runs:
    runs = _Runs()
    for paths in study.recorded():
        name = discovery.run_name(paths.directory)
        changed = last_changed(paths.record)
        try:
            record = _record(paths.record, changed)
        except CorruptRecord:
            runs.unreadable.append(name)
            continue
        if record is not None:
            runs.records[name], runs.changed[name] = record, changed
            if record.status == RunStatus.RUNNING:
                runs.changed[name] = max(changed, last_changed(paths.metrics), last_changed(paths.log))
    return runs


@lru_cache(maxsize=20_000)
def _record(path: Path, changed: float) -> Record | None:
    """Read a record, cached by its modification time, so that a live view is cheap."""
    return Record.read(path)


@lru_cache(maxsize=256)
def _asked(directory: Path, changed: float) -> dict[str, Any]:
    """Read sweep.yaml, cached by its modification time; {} if it is missing or damaged."""
    try:
        content = StudyPaths(directory).read_sweep() or {}
    except DamagedFile:
        return {}
    return content if isinstance(content.get("cells"), list) else {}


def _set_run_states(
    runs: _Runs,
    tasks: list[discovery.ClusterTask],
    directory: Path,
    held: bool,
    holder: dict[str, Any] | None,
    single: bool,
) -> None:
    """Set the state of each run that has not ended: paused, running, queued in a job, or interrupted."""
    since = discovery.seconds(str((holder or {}).get("since"))) or 0.0
    now = time.time()
    for name, record in runs.records.items():
        if record.status != RunStatus.RUNNING:
            continue
        if PAUSED in record.cost:
            runs.doing[name] = Unfinished.PAUSED
            continue
        if single:
            alive = now - runs.changed[name] < SINGLE_QUIET
        else:
            # A `running` record that is older than the coordinator was left by an earlier one.
            alive = held and last_changed(StudyPaths(directory).run(name).record) >= since - 1
        runs.doing[name] = Unfinished.RUNNING if alive else Unfinished.INTERRUPTED
    for task in tasks:
        if task.over:
            continue
        for name in task.runs:
            known = runs.records.get(name)
            if known is None or (known.status == RunStatus.RUNNING and task.waiting):
                runs.doing[name] = Unfinished.QUEUED
            elif known.status == RunStatus.RUNNING and PAUSED not in known.cost:
                runs.doing[name] = Unfinished.RUNNING


def _choices(directory: Path) -> dict[str, Any]:
    """Return the choices of the last command; older ones do not count, because it may have added trials."""
    paths = StudyPaths(directory)
    if last_changed(paths.choices) < last_changed(paths.sweep):
        return {}
    try:
        return paths.read_choices()
    except DamagedFile:
        return {}


def _started_after(holder: dict[str, Any] | None, job: dict[str, Any]) -> bool:
    """Return whether a coordinator has started since its job was submitted; holder.json may be of an earlier one."""
    taken, submitted = (discovery.seconds(str(value)) for value in ((holder or {}).get("since"), job.get("submitted")))
    return holder is not None and (taken is None or submitted is None or taken >= submitted)
