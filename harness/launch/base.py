"""Interface of all launchers: a `Launcher` takes run batches, a `Job` is a submitted batch, an `Outcome` its end.

Results are never passed back: a run writes them to its record, which the coordinator reads. An outcome only says
whether the process that executed the batch survived. So a launcher can be a function call, a pool or a cluster.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from harness.records.run_spec import RunBatch, RunSpec

Attribution = Literal["run", "place", "memory"]  # what a loss is attributed to, see `Outcome`


@dataclass(eq=False)
class Job:
    """A submitted run batch."""

    batch: RunBatch

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """Return the runs that have not ended yet, as far as the launcher itself knows."""
        return self.batch.runs


@dataclass(frozen=True)
class Outcome:
    """How a job, or some of its runs, ended.

    Attributes:
        job: the job.
        lost: None if the process survived (whatever the runs' records say), else the reason why it did not.
        runs: the runs that ended; None: all remaining runs of the job.
        attributed_to: what caused a loss. run: the run, so the loss counts against its retries | place: a node, a queue
            or a person, so the runs are tried elsewhere | memory: the batch, or its only run, needed too much memory.
        begun: directories of the runs that the job had started; None: the runs' records say which had.
    """

    job: Job
    lost: str | None = None
    runs: tuple[RunSpec, ...] | None = None
    attributed_to: Attribution = "run"
    begun: frozenset[str] | None = None


class Launcher(ABC):
    """Executes run batches.

    Attributes:
        capacity: number of jobs that it can hold at once; the coordinator keeps that many submitted.
        runs_per_job: number of runs in a job; None: as many as may be fused.
        places: how often a run is started again after losses that it did not cause.
        immediate: whether `submit` returns only after the batch has been executed.
        fuses: whether runs of a job are fused where they can be. If so, only runs that can be fused share a job.
        co_located: number of concurrent jobs that share the memory of a GPU or of the host, each job included.
    """

    capacity: int
    runs_per_job: int | None = None
    places: int = 10
    immediate: bool = False
    fuses: bool = False
    co_located: int = 1

    @abstractmethod
    def submit(self, batch: RunBatch) -> Job:
        """Start or queue a run batch. Return at once, unless only the calling process can execute it."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that ended since the last call, waiting up to `seconds` for one."""

    @abstractmethod
    def close(self) -> None:
        """Release the launcher. Local processes are killed at once; to keep their work, first ask the runs to stop with
        a checkpoint. Cluster jobs go on, and the next coordinator recovers them.
        """

    def group(self, spec: RunSpec) -> str:
        """Return a key; only runs with the same key share a job."""
        return ""

    def recover(self) -> list[Job]:
        """Return the jobs of an earlier coordinator of the study that have not ended."""
        return []

    def forget(self, job: Job) -> None:
        """Cancel a recovered job whose runs are no longer needed."""
        return  # launchers without recovery have no such jobs

    def withdraw(self, everything: bool = False) -> None:
        """Cancel the jobs that have not started, or all of them; `wait` then reports them as ended."""
        return  # launchers without a queue have nothing to cancel


def use_threads(count: int) -> None:
    """Limit torch, BLAS, OpenMP and the tokenizers in this process to `count` CPU threads: CPU results depend on it.

    The limit applies to the tokenizers only if they have not been used yet.
    """
    os.environ.setdefault("RAYON_NUM_THREADS", str(count))
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count)
