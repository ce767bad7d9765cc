"""Transfer of new content from a study's files to a tracker: everything exactly once, across processes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.records.files import read_jsonl, write_json
from harness.records.record import CorruptRecord, Record
from harness.records.signature import digest, published
from harness.records.states import RunStatus
from harness.records.study_files import RunPaths, StudyPaths, recorded
from harness.track.base import Tracked, Tracker

ERROR_CHARACTERS = 200  # maximum length of a run's error
TRACK = "track"  # subdirectory of a study with the logs of what trackers have got, and of their output


class Follow:
    """Sends one study to one tracker, and logs what was sent in `<study>/track/<tracker>`, by run.

    Single runs share a study and may run at the same time. The process that follows a single run locks that run, and a
    process that follows all runs skips locked ones.

    Args:
        study: the study's directory.
        tracker: the tracker, which is opened here.
        only: the single run to follow, `<cell>/<run>`; None: all runs.
    """

    def __init__(self, study: Path, tracker: Tracker, only: str | None = None) -> None:
        self.study, self.tracker = study.resolve(), tracker
        self.pattern = only or "*"
        self.only = only
        self.open: dict[str, str] = {}  # name -> id of the runs that this process has begun and not ended
        self.stamps: dict[str, tuple[int, ...]] = {}  # by run: its files as last read; unchanged ones are skipped
        tracker.open(self.study)

    def look(self) -> None:
        """Send everything new."""
        runs = StudyPaths(self.study).runs
        for paths in recorded(runs, self.pattern):
            stamp = (*_stamp(paths.record), *_stamp(paths.metrics))
            name = paths.directory.relative_to(runs).as_posix()
            if self.stamps.get(name) != stamp:
                with suppress(Timeout), self._alone(name):
                    self._tell(name, paths)
                    self.stamps[name] = stamp

    def report(self, directory: Path) -> None:
        """Send the study's report, unless its present table was already sent."""
        table = directory / "table.csv"
        if not table.is_file():
            return
        with table.open(encoding="utf-8", newline="") as file:
            now = digest(list(csv.reader(file)))[:16]
        if now != self._told().get("report"):
            self.tracker.report(directory, now)
            write_json(self._account(), {"report": now})

    def close(self) -> list[str]:
        """Close the tracker; return its sentences for the user."""
        return self.tracker.close()

    def _account(self, name: str | None = None) -> Path:
        return Path(f"{stem(self.study, self.tracker.name, name)}.json")

    def _told(self, name: str | None = None) -> dict[str, Any]:
        """Read the log of what was sent of a run, or of the report."""
        with suppress(OSError, ValueError):
            found = json.loads(self._account(name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def _alone(self, name: str) -> AbstractContextManager[Any]:
        """Lock a run, unless a process that follows only this run holds it; only such processes create locks."""
        lock = Path(f"{stem(self.study, self.tracker.name, name)}.lock")
        if self.only is not None or not lock.exists():
            return nullcontext()
        return FileLock(lock).acquire(timeout=0)

    def _tell(self, name: str, paths: RunPaths) -> None:
        """Send everything new of one run."""
        with suppress(CorruptRecord, OSError):
            record = Record.read(paths.record)
            if record is None:
                return
            key = identity(name, record)
            told = self._told(name)
            if told.get("id") != key:
                told = {"id": key, "epochs": [], "ended": None}
            # A lost run may be tried again, so a record that has changed is sent again.
            over = record.status != RunStatus.RUNNING
            state = f"{record.status} {record.ended}"
            if told["ended"] == state:
                return
            values = asdict(record) | {"error": _reason(record.error)}
            run = Tracked(key, name, values, published(paths.read_config()))
            written = [
                line for line in read_jsonl(paths.metrics) if isinstance(line["epoch"], int)
            ]  # lines written at the end of an epoch
            lines = [line for line in written if _key(line) not in told["epochs"]]
            if self.open.get(name) != run.id:
                self.tracker.begin(run)
                self.open[name] = run.id
            for line in lines:
                self.tracker.epoch(run, int(line["epoch"]), _values(line), float(line.get("seconds") or 0.0))
                told["epochs"].append(_key(line))
            if over:
                self.tracker.end(run, results(record))
                self.open.pop(name, None)
                told["epochs"], told["ended"] = [_key(line) for line in written], state
            account = self._account(name)
            account.parent.mkdir(parents=True, exist_ok=True)
            write_json(account, told)


def stem(study: Path, tracker: str, only: str | None = None) -> Path:
    """Return the path, without suffix, of a tracker's files (.json, .lock, .log), for a study or a single run."""
    return study / TRACK / tracker / only if only else study / TRACK / tracker


def identity(name: str, record: Record) -> str:
    """Return the id of a run in a tracker: 16 hex digits."""
    return digest([record.study, name, record.signature, record.started])[:16]


def results(record: Record) -> dict[str, float]:
    """Return a record's numbers by name: `test/accuracy`, `cost/train_seconds`."""
    groups: dict[str, Mapping[str, Any]] = {**record.metrics, "cost": record.cost}
    return {
        f"{group}/{key}": float(value)
        for group, values in groups.items()
        for key, value in (values or {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _key(line: Mapping[str, Any]) -> str:
    """Return the key of an epoch's line within its run; with cross-validation each fold has its own epochs."""
    return f"{line.get('fold', '')}/{line.get('epoch')}"


def _values(line: Mapping[str, Any]) -> dict[str, float]:
    before = f"fold{line['fold']}/" if "fold" in line else ""
    values = {"train/loss": line.get("train_loss")} | {f"val/{key}": v for key, v in (line.get("val") or {}).items()}
    return {before + key: float(value) for key, value in values.items() if isinstance(value, int | float)}


def _reason(error: str | None) -> str | None:
    """Return the beginning of an error, up to the first path in it."""
    words = re.split(r"\S*[/\\]", (error or "").strip().partition("\n")[0], maxsplit=1)[0]
    return words[:ERROR_CHARACTERS].rstrip(" '\"(:") or None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
