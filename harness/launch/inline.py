"""Execution in the coordinator's own process, one batch after another. Reference for all other launchers."""

from __future__ import annotations

from collections.abc import Callable

from harness.launch.base import Job, Launcher, Outcome, use_threads
from harness.records.run_spec import RunBatch
from harness.system.resources import usable_cores, usable_threads


class InlineLauncher(Launcher):
    """Executes each batch within `submit`.

    A run that kills or hangs its process takes the coordinator with it; the local launcher protects from this.

    Args:
        threads: CPU threads; None: all that this process may use.
        interrupted: called by runs between steps; True means: write a checkpoint and return.
    """

    capacity = 1
    immediate = True
    fuses = True

    def __init__(self, threads: int | None, interrupted: Callable[[], bool]) -> None:
        use_threads(threads or usable_threads(usable_cores()))
        self._interrupted = interrupted
        self._ended: list[Outcome] = []

    def submit(self, batch: RunBatch) -> Job:
        """Execute the batch to its end."""
        from harness.runs.execute import execute

        job = Job(batch)
        execute(batch, interrupted=self._interrupted)
        self._ended.append(Outcome(job))
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes since the last call; there is nothing to wait for."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Do nothing: no job is running."""
