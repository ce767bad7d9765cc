"""The runs of a cell that are under way, or that were begun and are queued to continue."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from harness.records.run_spec import RunSpec
from harness.records.states import Phase


class RunQueue:
    """The runs that a cell has started or continues.

    Attributes:
        active: the runs under way, by directory.
        started: number of runs that were started.
    """

    def __init__(self) -> None:
        self.active: dict[str, RunSpec] = {}
        self.started = 0
        self._waiting: deque[RunSpec] = deque()

    @property
    def waiting(self) -> tuple[RunSpec, ...]:
        """Runs that were begun and are queued to continue."""
        return tuple(self._waiting)

    @property
    def tuning(self) -> int:
        """Number of tuning runs under way."""
        return sum(spec.phase == Phase.TUNE for spec in self.active.values())

    def start(self, spec: RunSpec) -> None:
        """Note that a run is under way."""
        self.active[spec.directory] = spec
        self.started += 1

    def end(self, spec: RunSpec) -> None:
        """Note that a run is not under way any more."""
        self.active.pop(spec.directory, None)

    def enqueue(self, spec: RunSpec) -> None:
        """Let a run continue later; it is not under way until then."""
        self.end(spec)
        self._waiting.append(spec)

    def next_waiting(self) -> RunSpec | None:
        """Remove and return the run that has waited longest; None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    def withdraw(self, spec: RunSpec) -> bool:
        """Remove a waiting run; return whether it was waiting."""
        if spec not in self._waiting:
            return False
        self._waiting.remove(spec)
        return True

    def not_started(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """Return those runs that are neither under way nor waiting."""
        begun = {*self.active, *(spec.directory for spec in self._waiting)}
        return [spec for spec in specs if spec.directory not in begun]
