"""What a worker executes of a run from the command line: the run, and its lines for the terminal that started it.

A run's log.txt has more lines than a terminal shows, and those of an earlier attempt are removed from it.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.records.run_spec import RunBatch
from harness.runs.execute import execute as execute_batch
from harness.runs.execute import follow

__all__ = ["execute", "follow"]


def execute(batch: RunBatch, interrupted: Callable[[], bool]) -> None:
    """Execute a batch of one run; append the lines that it says to `RunPaths.shown`."""
    (spec,) = batch.runs

    def say(line: str) -> None:
        with spec.paths.shown.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")

    execute_batch(batch, interrupted, say)
