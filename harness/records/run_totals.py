"""Totals over the records of a study, updated incrementally: the coordinator reads them in every iteration."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from harness.api.cost import once
from harness.records.record import PAUSED, Record
from harness.records.states import Phase, RunStatus

ONCE = once()  # costs that only first runs pay


@dataclass
class DurationStats:
    """Durations, in seconds, of runs that ended or are paused at a rung, without the one-time costs that they paid.

    Attributes:
        runs: number of runs.
        total: sum of their durations.
        longest: the longest duration.
    """

    runs: int = 0
    total: float = 0.0
    longest: float = 0.0

    @property
    def mean(self) -> float:
        """Return the mean duration."""
        return self.total / self.runs

    def count(self, sign: int, seconds: float) -> None:
        """Add a run (sign 1) or remove it (sign -1); `longest` is not reduced."""
        self.runs += sign
        self.total += sign * seconds
        if sign > 0:
            self.longest = max(self.longest, seconds)


class RunTotals:
    """Sums over records.

    Attributes:
        statuses: number of records by status.
        seconds: total seconds of all runs.
        accelerator_seconds, core_seconds: billed time; a run has one of the two (see `harness.records.pricing`).
        peak_memory_mb: the largest peak; None if no record has one.
        ended: number of runs with a known duration.
        least: by one-time cost: the smallest that any of these runs paid.
    """

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.seconds = self.accelerator_seconds = self.core_seconds = 0.0
        self.peak_memory_mb: float | None = None
        self.ended = 0
        self.least: dict[str, float] = {}
        self._lengths: dict[tuple[str, str], DurationStats] = defaultdict(DurationStats)
        self._whole: dict[str, DurationStats] = defaultdict(DurationStats)
        self._paces: dict[str, DurationStats] = defaultdict(DurationStats)
        self._spent: dict[tuple[str, str], float] = defaultdict(float)

    def add(self, record: Record) -> None:
        """Add a record."""
        self._count(record, 1)
        if (peak := record.cost.get("peak_memory_mb")) is not None:
            self.peak_memory_mb = max(self.peak_memory_mb or 0.0, float(peak))
        if _has_length(record):
            for name in ONCE:
                paid = float(record.cost.get(name) or 0.0)
                self.least[name] = min(self.least.get(name, paid), paid)

    def remove(self, record: Record) -> None:
        """Remove a record that is about to be replaced; extremes are not reduced."""
        self._count(record, -1)

    def lengths(self, cell: str, phase: str) -> DurationStats:
        """Return the durations of a cell's runs in a phase, tune or confirm."""
        return self._lengths[cell, phase]

    def whole(self, cell: str) -> DurationStats:
        """Return the durations of a cell's completed trials."""
        return self._whole[cell]

    def pace(self, cell: str) -> DurationStats:
        """Return seconds per unit of the resource, over the cell's trials that are or ended paused at a rung."""
        return self._paces[cell]

    def spent(self, cell: str, phase: str) -> float:
        """Return the total seconds of a cell's runs in a phase."""
        return self._spent[cell, phase]

    def _count(self, record: Record, sign: int) -> None:
        cost = record.cost
        self.statuses[record.status] += sign
        seconds = sign * float(cost.get("total_seconds") or 0.0)
        self.seconds += seconds
        self._spent[record.cell, record.phase] += seconds
        if cost.get("accelerator_seconds") is not None:
            self.accelerator_seconds += sign * float(cost["accelerator_seconds"])
        else:
            self.core_seconds += sign * float(cost.get("core_seconds") or 0.0)
        if _has_length(record):
            self.ended += sign
            self._lengths[record.cell, record.phase].count(sign, _net(record))
            if at := record.cost.get(PAUSED):
                self._paces[record.cell].count(sign, _net(record) / float(at))
            elif record.status == RunStatus.OK and record.phase == Phase.TUNE:
                self._whole[record.cell].count(sign, _net(record))


def _has_length(record: Record) -> bool:
    done = record.status in (RunStatus.OK, RunStatus.PRUNED) or PAUSED in record.cost
    return done and bool(record.cost.get("total_seconds"))


def _net(record: Record) -> float:
    return float(record.cost["total_seconds"]) - sum(float(record.cost.get(name) or 0.0) for name in ONCE)
