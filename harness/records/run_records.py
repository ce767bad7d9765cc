"""State of the runs that were started: the only module that knows how a study is resumed.

For each run, tuning or confirmation, it looks for a finished record, then for a live job, then for a checkpoint.
Local launchers kill their processes with the coordinator, so a local run without a finished record is never live; a
Slurm launcher lists the jobs that still are (`Launcher.recover`). All other runs are started again in their own
directory, where the run itself finds its checkpoint.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError
from harness.records.files import append_jsonl, now, read_jsonl
from harness.records.record import PAUSED, CorruptRecord, Record, UnreadableRecord
from harness.records.run_spec import RunSpec
from harness.records.run_totals import RunTotals
from harness.records.signature import NUMERICS_VERSION
from harness.records.states import FINISHED, RunStatus
from harness.records.study_files import RunPaths, recorded


class RunRecords:
    """The records of a study, by directory and by signature.

    Args:
        directory: the study's directory of runs.
        warn: called with a message for each unreadable record.
        keep: whether unreadable records are kept; otherwise they are deleted, and their runs executed again.

    Attributes:
        tally: totals over the records.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None], keep: bool = False) -> None:
        self._warn, self._keep = warn, keep
        self.tally = RunTotals()
        self._ok: dict[str, Record] = {}
        self._by_directory: dict[str, Record] = {}
        self._by_cell: dict[str, dict[str, Record]] = {}
        self._current: set[str] = set()  # directories of records of this version's numerics
        for paths in recorded(directory):
            self.refresh(paths)

    def refresh(self, paths: RunPaths) -> Record | None:
        """Read a run's record again; return None if it is missing or unreadable."""
        old = self._by_directory.pop(str(paths.directory), None)
        if old is not None:
            self._by_cell[old.cell].pop(str(paths.directory))
            self.tally.remove(old)
        self._current.discard(str(paths.directory))
        try:
            record = Record.read(paths.record)
        except CorruptRecord as error:
            if self._keep:
                self._warn(str(error))
                return None
            if isinstance(error, UnreadableRecord):  # it may be whole, so it is not deleted
                raise HarnessError(
                    f"{error} Make it readable, or remove it, and run the same command again."
                ) from error
            self._warn(f"{error} The run is executed again.")
            paths.record.unlink()
            return None
        if record is not None:
            kept = record if record.status == RunStatus.RUNNING else _light(record)
            self._by_directory[str(paths.directory)] = kept
            self._by_cell.setdefault(record.cell, {})[str(paths.directory)] = kept
            self.tally.add(kept)
            if record.provenance.get("numerics_version") == NUMERICS_VERSION:
                self._current.add(str(paths.directory))
            if record.status == RunStatus.OK:
                self._ok[record.signature] = kept
        return record

    def finished(self, spec: RunSpec) -> Record | None:
        """Return the finished record of a run: its own, or an `ok` record with the same signature."""
        own = self._by_directory.get(spec.directory)
        if own is not None and own.signature == spec.signature and own.status in FINISHED:
            return own
        return self._ok.get(spec.signature)

    def has_ended(self, directory: Path) -> bool:
        """Return whether a run has a finished record of its own, by this version's numerics (`NUMERICS_VERSION`)."""
        own = self._by_directory.get(str(directory))
        return own is not None and own.status in FINISHED and str(directory) in self._current

    def seconds(self, directory: str) -> float:
        """Return the seconds that a run took; 0 if unknown."""
        record = self._by_directory.get(directory)
        return float(record.cost.get("total_seconds") or 0.0) if record is not None else 0.0

    def all(self) -> list[Record]:
        """Return all readable records."""
        return list(self._by_directory.values())

    def of_cell(self, cell: str) -> dict[str, Record]:
        """Return the records of a cell, by directory."""
        return self._by_cell.get(cell, {})


def _light(record: Record) -> Record:
    """Return the part of a final record that the coordinator keeps in memory; a study may have very many records."""
    return replace(
        record,
        data={},
        provenance={},
        cost={sys.intern(name): value for name, value in record.cost.items()},
        metrics={split: {sys.intern(name): value for name, value in m.items()} for split, m in record.metrics.items()},
    )


def note_failure(paths: RunPaths, reason: str, elsewhere: bool = False) -> int:
    """Log that a run's worker was lost while its coordinator lived; return the number of such losses so far.

    A coordinator that dies logs nothing, so its death never counts against `launch.retries`. Losses that the run did
    not cause (`elsewhere`: a node, the queue, a person) are counted separately.
    """
    paths.directory.mkdir(parents=True, exist_ok=True)
    append_jsonl(paths.failures, {"reason": reason, "at": now(), "elsewhere": elsewhere})
    return sum(bool(line.get("elsewhere")) == elsewhere for line in read_jsonl(paths.failures))


def close_unfinished(records: RunRecords, cell: str, reason: str) -> None:
    """Mark the cell's records that still say `running` as pruned, once those runs are no longer needed.

    Runs that are paused at a rung stay: a budget ended the tuning, and a larger budget resumes them.
    """
    for directory, record in list(records.of_cell(cell).items()):
        if record.status == RunStatus.RUNNING and PAUSED not in record.cost:
            paths = RunPaths(Path(directory))
            _prune(record, paths, reason)
            records.refresh(paths)


def prune(spec: RunSpec, reason: str) -> Record:
    """End a run that is paused at a rung: set its record to `pruned` and delete its checkpoint."""
    record = _prune(spec.result() or spec.new_record(RunStatus.RUNNING), spec.paths, reason)
    shutil.rmtree(spec.paths.checkpoint, ignore_errors=True)
    return record


def _prune(record: Record, paths: RunPaths, reason: str) -> Record:
    pruned = replace(record, status=RunStatus.PRUNED, error=reason, ended=now())
    pruned.write(paths.record)
    return pruned
