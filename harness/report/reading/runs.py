"""A study's runs: where they are, and what they recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from harness.records.record import PHASES, CorruptRecord, Record, metric_of, number
from harness.records.states import RunStatus
from harness.records.study_files import RunPaths, record_of

# Types of a record's values that the rest of the report relies on.
_STATUSES = frozenset(RunStatus)
_KINDS: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("variant", "hyperparameters", "metrics", "cost", "data", "provenance"), dict),
    (("study", "cell", "phase", "status", "task", "model", "method", "signature"), str),
    (("started", "ended", "error"), str | None),
    (("seed", "schema", "replicate"), int),
    (("trial",), int | None),
)


class Stored(Protocol):
    """Compacted runs, one per row.

    Attributes:
        costs: columns by name, each filled on first access; KeyError for a cost without a column.
        scores: likewise, by `<split>_<metric>`.
        facts: likewise, of the record's own keys.
    """

    costs: dict[str, list[float | None]]
    scores: dict[str, list[float | None]]
    facts: Mapping[str, list[Any]]

    def record(self, row: int) -> Record:
        """Rebuild the record of a row."""


class Run:
    """One run and its directory.

    Args:
        directory: `runs/<study>/runs/<cell>/<run>`.
        cell, phase, status, seed, trial, schema: as in the record, available without decoding it.
        stored, row: where other values are looked up; the record is decoded on first access.
    """

    __slots__ = ("_record", "_row", "_stored", "cell", "directory", "phase", "schema", "seed", "status", "trial")

    def __init__(
        self, directory: str, cell: str, phase: str, status: str, seed: int, trial: int | None, schema: int,
        stored: Stored | None = None, row: int = 0, record: Record | None = None,
    ) -> None:  # fmt: skip
        self.directory, self.cell, self.phase, self.status = directory, cell, phase, status
        self.seed, self.trial, self.schema = seed, trial, schema
        self._stored, self._row, self._record = stored, row, record

    @classmethod
    def of(cls, directory: str, record: Record) -> Run:
        """Create a run whose record has been read."""
        facts = record.cell, record.phase, record.status, record.seed, record.trial, record.schema
        return cls(directory, *facts, record=record)

    @property
    def paths(self) -> RunPaths:
        """The run's paths."""
        return RunPaths(Path(self.directory))

    @property
    def record(self) -> Record:
        """The run's record."""
        if self._record is None:
            assert self._stored is not None
            self._record = self._stored.record(self._row)
        return self._record

    @property
    def replicate(self) -> int:
        """As in the record, available without decoding it."""
        return int(self._stored.facts["replicate"][self._row]) if self._stored is not None else self.record.replicate

    def cost(self, name: str) -> float | None:
        """Return a cost; None if unknown."""
        if self._stored is not None:
            try:  # called for every run, and suppress() takes longer than the lookup
                return self._stored.costs[name][self._row]
            except KeyError:
                pass
        return number(self.record.cost.get(name))

    def metric(self, split: str, name: str) -> float | None:
        """Return a metric; None if unknown."""
        if self._stored is not None:
            try:
                return self._stored.scores[f"{split}_{name}"][self._row]
            except KeyError:
                pass
        return metric_of(self.record, split, name)

    def __eq__(self, other: object) -> bool:
        """Runs are equal if they have the same directory and the same record."""
        return isinstance(other, Run) and self.directory == other.directory and self.record == other.record

    __hash__ = None  # type: ignore[assignment]  # a record can change


@dataclass(frozen=True)
class Unreadable:
    """A run whose record cannot be read."""

    directory: str
    reason: str


def scan(root: Path) -> dict[str, tuple[int, int] | None]:
    """Find every `<cell>/<run>` that has a record, in order of name, without reading any.

    Returns:
        For each, the record's modification time in nanoseconds and its size in bytes; None if these are unknown.
    """
    found: dict[str, tuple[int, int] | None] = {}
    for cell in _names(str(root)):
        for name in [f"{cell}/{run}" for run in _names(f"{root}/{cell}")]:
            try:
                status = os.stat(record_of(f"{root}/{name}"))  # noqa: PTH116  # a Path costs more than the call
                found[name] = (status.st_mtime_ns, status.st_size)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                found[name] = None
    return found


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name[0] != ".")  # noqa: PTH208  # likewise
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(directory: str) -> Run | Unreadable | None:
    """Read a run from record.json, and check the types that the rest of the report relies on; None without a record."""
    try:
        record = Record.read(RunPaths(Path(directory)).record)
        if record is None:
            return None
        _check(record)
    except (CorruptRecord, OSError) as error:
        return Unreadable(directory, str(error).split("\n", maxsplit=1)[0])
    return Run.of(directory, record)


def _check(record: Record) -> None:
    for names, kind in _KINDS:
        for name in names:
            if not isinstance(getattr(record, name), kind):
                raise CorruptRecord(f"{name} is {getattr(record, name)!r}")
    for split, values in record.metrics.items():
        if not isinstance(values, Mapping):
            raise CorruptRecord(f"metrics.{split} is no mapping")
    if record.phase not in PHASES or record.status not in _STATUSES:
        raise CorruptRecord(f"phase {record.phase!r} or status {record.status!r} is unknown")


def costs(runs: Iterable[Run], name: str) -> list[float]:
    """Return a cost of many runs, faster than one by one; unknown values are left out."""
    found: list[float | None] = []
    for stored, members in groupby(runs, attrgetter("_stored")):
        group = list(members)
        try:
            column = stored.costs[name]
        except (AttributeError, KeyError):  # read from JSON, or a cost without a column
            found += [run.cost(name) for run in group]
        else:
            found += [column[run._row] for run in group]
    return [value for value in found if value is not None]
