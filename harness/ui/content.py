"""What the page shows of studies, as JSON. Names that a request gives are looked up among those that exist.

No path is made of what a request says, so that none leads outside the directory of studies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.formatting.escape import plain
from harness.formatting.values import percent, score
from harness.records.locate import names
from harness.records.record import CorruptRecord, Record
from harness.records.states import RunStatus, StudyState, Unfinished
from harness.records.study_files import StudyPaths
from harness.status.cell_status import CellStatus
from harness.status.logs import clean
from harness.status.study_status import StudyStatus, survey

RUNS = 500  # of a cell that are listed
FAILURES = 20  # that are shown; the others are counted
LOG_BYTES = 2**17  # of a log that one answer holds: its end


class Unknown(HarnessError):
    """Something that does not exist."""


class Studies:
    """The studies of a directory.

    Args:
        runs_dir: the directory.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir

    def directory(self, name: str) -> Path:
        """Return the directory of a study.

        Raises:
            Unknown: there is no such study.
        """
        if name not in names(self.runs_dir):
            raise Unknown(f"There is no study {plain(name, 80)!r} in {self.runs_dir}.")
        return self.runs_dir / name

    def overview(self) -> dict[str, Any]:
        """Return all studies, the latest first."""
        found = [survey(self.runs_dir / name) for name in names(self.runs_dir)]
        found.sort(key=lambda each: each.activity or 0, reverse=True)
        return {"runs_dir": str(self.runs_dir), "studies": [_line(each) for each in found]}

    def study(self, name: str) -> dict[str, Any]:
        """Return the progress of a study.

        Raises:
            Unknown: there is no such study.
        """
        found = survey(self.directory(name))
        failures = [
            {"run": plain(each["run"]), "error": plain(str(each["error"] or "without a message"), 300)}
            for each in found.failures[:FAILURES]
        ]
        outcome = found.outcome or {}
        return {
            **_line(found), "progress": [_cell(each) for each in found.cells],
            "jobs": sum(not task.over for task in found.tasks), "failures": failures,
            "more_failures": max(0, len(found.failures) - FAILURES), "note": plain(str(outcome.get("note") or "")),
        }  # fmt: skip

    def runs(self, name: str, cell: str) -> dict[str, Any]:
        """Return the runs of a cell, by name.

        Raises:
            Unknown: there is no such study or cell.
        """
        directory = self._run_folder(self.directory(name), cell)
        folders = sorted(each for each in directory.iterdir() if each.is_dir())
        return {
            "runs": [{"run": each.name, "status": _status(each)} for each in folders[:RUNS]],
            "more": max(0, len(folders) - RUNS),
        }

    def log(self, name: str, cell: str, run: str, start: int) -> dict[str, Any]:
        """Return what a run has printed.

        Args:
            name, cell, run: of the run.
            start: the byte to begin at, from an earlier answer; 0 for the first one.

        Raises:
            Unknown: there is no such run.
        """
        study = self.directory(name)
        cells = self._run_folder(study, cell)
        if run not in {each.name for each in cells.iterdir() if each.is_dir()}:
            raise Unknown(f"There is no run {plain(run, 80)!r} in {plain(cell, 80)}.")
        paths = StudyPaths(study).run(f"{cell}/{run}")
        status = _status(paths.directory)
        try:
            with paths.log.open("rb") as file:
                size = file.seek(0, 2)
                begin = start if 0 <= start <= size else 0  # a file that was begun again is shorter
                skipped = max(0, size - begin - LOG_BYTES)
                file.seek(begin + skipped)
                content = file.read(LOG_BYTES)
        except OSError:
            return {"text": "", "next": 0, "skipped": 0, "status": status}
        whole = content if status != RunStatus.RUNNING else content[: content.rfind(b"\n") + 1]
        text = clean(whole.decode("utf-8", errors="replace"))
        return {"text": text, "next": begin + skipped + len(whole), "skipped": skipped, "status": status}

    def _run_folder(self, study: Path, cell: str) -> Path:
        runs = StudyPaths(study).runs
        known = {each.name for each in runs.iterdir() if each.is_dir()} if runs.is_dir() else set()
        if cell not in known:
            raise Unknown(f"There is no cell {plain(cell, 80)!r} with runs in {study.name}.")
        return runs / cell


def live(state: str) -> bool:
    """Return whether a study goes on."""
    return state in (StudyState.RUNNING, StudyState.QUEUED)


def _line(found: StudyStatus) -> dict[str, Any]:
    done = sum(cell.tuned + cell.confirmed for cell in found.cells)
    planned = sum(max(cell.trials or 0, cell.tuned) + max(cell.seeds, cell.confirmed) for cell in found.cells)
    return {
        "name": found.name, "state": found.state, "cells": len(found.cells), "activity": found.activity,
        "ended": found.runs[RunStatus.OK] + found.runs[RunStatus.PRUNED], "failed": found.runs[RunStatus.FAILED],
        "running": found.runs[Unfinished.RUNNING], "queued": found.runs[Unfinished.QUEUED],
        "share": min(1.0, done / planned) if planned else 0.0, "best": _best(found.cells), "live": live(found.state),
    }  # fmt: skip


def _best(cells: list[CellStatus]) -> list[dict[str, str]]:
    """Return the best cell by validation for each metric: scores of two metrics are not compared."""
    from harness.api.family import direction_of
    from harness.api.metric import Direction

    found: dict[str, CellStatus] = {}
    for cell in cells:
        if cell.best is None:
            continue
        other = found.get(cell.metric)
        sign = 1 if direction_of(cell.metric) == Direction.MAXIMIZE else -1
        if other is None or other.best is None or sign * cell.best > sign * other.best:
            found[cell.metric] = cell
    return [{"cell": plain(cell.id), "score": _score(cell)} for cell in found.values()]


def _cell(cell: CellStatus) -> dict[str, Any]:
    of = "" if cell.trials is None else f"/{cell.trials}"
    return {
        "id": cell.id, "state": cell.state, "tuned": f"{cell.tuned}{of}" if cell.tuned or of != "/0" else "",
        "confirmed": f"{cell.confirmed}/{cell.seeds}", "running": cell.running, "queued": cell.queued,
        "paused": cell.paused, "interrupted": cell.interrupted, "failed": cell.failed, "best": _score(cell),
    }  # fmt: skip


def _score(cell: CellStatus) -> str:
    text = score(cell.best, cell.metric, unit=True)
    return text if not text or percent(cell.metric) else f"{text} {cell.metric}"


def _status(folder: Path) -> str:
    try:
        record = Record.read(StudyPaths(folder.parents[2]).run(f"{folder.parent.name}/{folder.name}").record)
    except CorruptRecord:
        return "unreadable"
    return "not started" if record is None else str(record.status)
