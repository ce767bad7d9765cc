"""A study's runs: where they are, and what each of them left."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from harness.records.record import PHASES, STATUSES, CorruptRecord, Record
from harness.records.run_spec import RunPaths

# The shapes of a record's values that the rest of the report relies on.
_KINDS: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("variant", "hyperparameters", "metrics", "cost", "data", "provenance"), dict),
    (("study", "cell", "phase", "status", "task", "model", "method", "signature"), str),
    (("started", "ended", "error"), str | None),
    (("seed", "schema"), int),
    (("trial",), int | None),
)


class Stored(Protocol):
    """What was compacted of runs, a row each.

    Attributes:
        costs: columns by name, each filled when it is first asked for; KeyError for a cost that has none.
        scores: likewise, by `<split>_<metric>`.
    """

    costs: dict[str, list[float | None]]
    scores: dict[str, list[float | None]]

    def record(self, row: int) -> Record:
        """Make the record that a row was made from."""


class Run:
    """One run and the directory it lives in.

    Args:
        directory: `runs/<study>/runs/<cell>/<run>`.
        cell, phase, status, seed, trial, schema: as in the record, which need not be decoded for them.
        stored, row: where the rest is looked up; the record is decoded only when it is asked for.
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
        """Make a run whose record has been read."""
        facts = record.cell, record.phase, record.status, record.seed, record.trial, record.schema
        return cls(directory, *facts, record=record)

    @property
    def paths(self) -> RunPaths:
        """The run's paths."""
        return RunPaths(Path(self.directory))

    @property
    def record(self) -> Record:
        """What the run left."""
        if self._record is None:
            assert self._stored is not None
            self._record = self._stored.record(self._row)
        return self._record

    def cost(self, name: str) -> float | None:
        """Look up a cost; None if it is not known."""
        if self._stored is not None:
            try:  # called for every run: suppress() takes longer than the look-up
                return self._stored.costs[name][self._row]
            except KeyError:
                pass
        return number(self.record.cost.get(name))

    def metric(self, split: str, name: str) -> float | None:
        """Look up a metric; None if it is not known."""
        if self._stored is not None:
            try:
                return self._stored.scores[f"{split}_{name}"][self._row]
            except KeyError:
                pass
        return metric(self.record, split, name)

    def __eq__(self, other: object) -> bool:
        """Runs are equal that live in one directory and left the same record."""
        return isinstance(other, Run) and self.directory == other.directory and self.record == other.record

    __hash__ = None  # type: ignore[assignment]  # a record can change


@dataclass(frozen=True)
class Unreadable:
    """A run whose record cannot be read."""

    directory: str
    reason: str


def scan(root: Path) -> dict[str, tuple[int, int] | None]:
    """Find every `<cell>/<run>` that has a record, in order of name, without reading one.

    Returns:
        For each, time of the record's last change in nanoseconds and its bytes; None where they cannot be told.
    """
    found: dict[str, tuple[int, int] | None] = {}
    for cell in _names(str(root)):
        for name in [f"{cell}/{run}" for run in _names(f"{root}/{cell}")]:
            try:
                status = os.stat(f"{root}/{name}/record.json")  # noqa: PTH116  # a Path costs more than the call
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
    """Read a run from its record.json, and check the shapes that the rest of the report relies on; None without one."""
    try:
        record = Record.read(Path(directory, "record.json"))
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
    if record.phase not in PHASES or record.status not in STATUSES:
        raise CorruptRecord(f"phase {record.phase!r} or status {record.status!r} is unknown")


def costs(runs: Iterable[Run], name: str) -> list[float]:
    """Look up a cost of many runs, which takes less time than one by one; what is not known is left out."""
    found: list[float | None] = []
    for stored, members in groupby(runs, attrgetter("_stored")):
        group = list(members)
        try:
            column = stored.costs[name]
        except (AttributeError, KeyError):  # read from JSON, or no column of its own
            found += [run.cost(name) for run in group]
        else:
            found += [column[run._row] for run in group]
    return [value for value in found if value is not None]


def metric(record: Record, split: str, name: str) -> float | None:
    """Look up a metric of a run; None if the run has none."""
    return number(record.metrics.get(split, {}).get(name))


def number(value: Any) -> float | None:
    """Give a finite number as a float, anything else as None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    with suppress(OverflowError):  # a whole number beyond every float
        return float(value) if math.isfinite(value) else None
    return None
