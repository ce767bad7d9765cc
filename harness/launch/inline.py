"""Packs execute in the coordinator's own process, one after another: the reference that every other launcher equals."""

from __future__ import annotations

from collections.abc import Callable

from harness.launch.base import Job, Launcher, Outcome, use_threads
from harness.records.run_spec import RunBatch
from harness.system.resources import usable_cores, usable_threads


class InlineLauncher(Launcher):
    """Execute each pack within `submit`.

    Nothing protects the coordinator from a run that kills or hangs its process; the local launcher does.

    Args:
        threads: CPU threads; None: as many as this process may use.
        interrupted: asked by runs between steps whether to checkpoint and return.
    """

    capacity = 1
    immediate = True
    packs = True

    def __init__(self, threads: int | None, interrupted: Callable[[], bool]) -> None:
        use_threads(threads or usable_threads(usable_cores()))
        self._interrupted = interrupted
        self._ended: list[Outcome] = []

    def submit(self, pack: RunBatch) -> Job:
        """Execute the pack, to its end."""
        from harness.runs.execute import execute

        job = Job(pack)
        execute(pack, interrupted=self._interrupted)
        self._ended.append(Outcome(job))
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return what ended; nothing is under way."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Nothing is left to end."""
