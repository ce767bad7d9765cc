"""What the runs of a cell say: its best trial, the runs that confirm it, and its state.

The status, the report and warm starts derive these facts here, and the coordinator states them here, so that they
agree. The functions are pure: they read no files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from harness.api.family import direction_of
from harness.api.metric import Direction
from harness.records.ranking import rank
from harness.records.record import Record, metric_of, number
from harness.records.states import CellOutcome, CellState, Phase, RunStatus


class CellRun(Protocol):
    """A run of a cell; `record` may be decoded on access, the rest is cheap."""

    @property
    def phase(self) -> str:
        """As in the record."""

    @property
    def status(self) -> str:
        """As in the record."""

    @property
    def trial(self) -> int | None:
        """As in the record."""

    @property
    def record(self) -> Record:
        """The record."""

    def metric(self, split: str, name: str) -> float | None:
        """Return a metric; None if unknown."""

    def cost(self, name: str) -> float | None:
        """Return a cost; None if unknown."""


R = TypeVar("R", bound=CellRun)


@dataclass(frozen=True)
class Recorded:
    """A run that is known by its record."""

    record: Record

    @property
    def phase(self) -> str:
        """As in the record."""
        return self.record.phase

    @property
    def status(self) -> str:
        """As in the record."""
        return self.record.status

    @property
    def trial(self) -> int | None:
        """As in the record."""
        return self.record.trial

    def metric(self, split: str, name: str) -> float | None:
        """Return a metric; None if unknown."""
        return metric_of(self.record, split, name)

    def cost(self, name: str) -> float | None:
        """Return a cost; None if unknown."""
        return number(self.record.cost.get(name))


def minimizes(metric: str, direction: str | None) -> bool:
    """Return whether less of a metric is better: as the study says, else as the metric does."""
    return (direction or direction_of(metric)) == Direction.MINIMIZE


def within(run: CellRun, limits: Mapping[str, Any]) -> bool:
    """Return whether a run keeps `tune.constraints`; an unknown cost does not."""
    return all(
        (known := run.cost(name)) is not None and known <= limit for name, limit in limits.items() if limit is not None
    )


def best_trial(runs: Iterable[R], metric: str, minimize: bool, limits: Mapping[str, Any]) -> R | None:
    """Return the best trial: of the tuning runs that ended well and keep the limits, the first by `rank`.

    Args:
        runs: of one cell.
        metric: the metric that selects; its validation score counts.
        minimize: whether less is better.
        limits: `tune.constraints`.
    """
    scored = [
        (run, value)
        for run in runs
        if run.phase == Phase.TUNE
        and run.status == RunStatus.OK
        and (value := run.metric("val", metric)) is not None
        and within(run, limits)
    ]
    found = min(
        scored,
        key=lambda pair: rank(pair[1], pair[0].metric("val", "loss"), pair[0].trial or 0, minimize),
        default=None,
    )
    return found and found[0]


def confirmations(runs: Iterable[R], chosen: Collection[str], best: CellRun | None) -> list[R]:
    """Return the runs that confirm the cell's configuration, whatever their status.

    A study that was extended may have confirmed an earlier best, too; those runs do not count.

    Args:
        runs: of one cell.
        chosen: signatures of the runs that confirm the choice (choices.json); empty if there is none.
        best: the best trial, whose configuration counts if nothing is chosen; None, if its record is lost: then the
            configuration that was confirmed last counts.
    """
    done = [run for run in runs if run.phase == Phase.CONFIRM]
    if chosen:
        return [run for run in done if run.record.signature in chosen]
    latest = best or max(done, key=lambda run: run.record.started or "", default=None)
    return [run for run in done if latest and run.record.hyperparameters == latest.record.hyperparameters]


def state(*, over: bool, busy: bool, begun: bool, worked: bool, ended: int, ok: int, wanted: int) -> CellState:
    """Return the state of a cell.

    A cell is done if every confirmation has ended and one of them went well, or if none is wanted. It has failed if it
    has nothing to confirm, or if all its confirmations failed.

    Args:
        over: whether no further configuration is tried.
        busy: whether a run of it is under way, queued, paused or interrupted.
        begun: whether it has any run.
        worked: whether a run ended with a result that counts.
        ended: number of its confirmations that have ended.
        ok: number of those that went well.
        wanted: number of confirmations that are wanted.
    """
    if over and not busy:
        if not worked or (ended >= wanted > 0 and not ok):
            return CellState.FAILED
        if ended >= wanted:
            return CellState.DONE
    if not (begun or busy):
        return CellState.WAITING
    return CellState.CONFIRMING if over else CellState.TUNING


def result(found: CellState, *, busy: bool, ok: int, failed: int, wanted: int) -> CellOutcome:
    """Return what a report can say of a cell.

    Args:
        found: its `state`.
        busy: whether a run of it is under way.
        ok: number of its confirmations with a test score.
        failed: number of those that failed or were lost.
        wanted: number of confirmations that are wanted.
    """
    if busy:
        return CellOutcome.RUNNING
    if found == CellState.WAITING:
        return CellOutcome.NOT_STARTED
    if found == CellState.FAILED:
        return CellOutcome.FAILED
    if ok >= wanted:
        return CellOutcome.OK
    return CellOutcome.FAILED if failed and not ok else CellOutcome.PARTIAL
