"""What the records of a study add up to, kept as they come: a coordinator asks at every turn, however many they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from harness.records.record import PAUSED, Record

ONCE = ("data_seconds", "model_seconds", "head_seconds", "features_seconds")  # paid by a worker's or study's first run


@dataclass
class DurationStats:
    """Seconds of runs that ended or wait at a rung, less what each paid once.

    Attributes:
        runs: how many.
        total: their seconds together.
        longest: those of the longest.
    """

    runs: int = 0
    total: float = 0.0
    longest: float = 0.0

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.total / self.runs

    def count(self, sign: int, seconds: float) -> None:
        """Count a run, or with -1 no more; the longest stays."""
        self.runs += sign
        self.total += sign * seconds
        if sign > 0:
            self.longest = max(self.longest, seconds)


class RunTotals:
    """Sums over records.

    Attributes:
        statuses: how many have which.
        seconds: of all runs.
        accelerator_seconds, core_seconds: what they are paid by: a run has either (see `harness.records.pricing`).
        peak_memory_mb: the largest; None before there is one.
        ended: runs that a length is known of.
        least: by cost that is paid once, the least that such a run paid.
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
        """Count a record."""
        self._count(record, 1)
        if (peak := record.cost.get("peak_memory_mb")) is not None:
            self.peak_memory_mb = max(self.peak_memory_mb or 0.0, float(peak))
        if _has_length(record):
            for name in ONCE:
                paid = float(record.cost.get(name) or 0.0)
                self.least[name] = min(self.least.get(name, paid), paid)

    def remove(self, record: Record) -> None:
        """Count a record no more, for another takes its place; extremes stay."""
        self._count(record, -1)

    def lengths(self, cell: str, phase: str) -> DurationStats:
        """Lengths of the runs of a cell in a phase, tune or confirm."""
        return self._lengths[cell, phase]

    def whole(self, cell: str) -> DurationStats:
        """Lengths of the trials of a cell that came to their end."""
        return self._whole[cell]

    def pace(self, cell: str) -> DurationStats:
        """Of the trials of a cell that wait at a rung, or did to their end: seconds a unit of the resource."""
        return self._paces[cell]

    def spent(self, cell: str, phase: str) -> float:
        """Seconds of all runs of a cell in a phase."""
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
            elif record.status == "ok" and record.phase == "tune":
                self._whole[record.cell].count(sign, _net(record))


def _has_length(record: Record) -> bool:
    done = record.status in ("ok", "pruned") or PAUSED in record.cost
    return done and bool(record.cost.get("total_seconds"))


def _net(record: Record) -> float:
    return float(record.cost["total_seconds"]) - sum(float(record.cost.get(name) or 0.0) for name in ONCE)
