"""The three nouns of every launcher: `Launcher` takes packs, `Job` is one pack under way, `Outcome` says how it ended.

What a run computed is never passed back: it lies in the run's record, which the coordinator reads. An outcome only says
whether the process that executed the pack lived to the end. So a launcher can be a function call, a pool or a cluster.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass

from harness.records.run_spec import RunBatch, RunSpec


@dataclass(eq=False)
class Job:
    """A pack under way."""

    pack: RunBatch

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """The runs that have not ended yet, as far as the launcher itself knows."""
        return self.pack.runs


@dataclass(frozen=True)
class Outcome:
    """How a job, or some runs of it, ended.

    Attributes:
        job: the job.
        lost: None if the process lived to the end (whatever the runs' records say), else why it did not.
        runs: the runs that ended; None: all that the job had left.
        blame: what a loss says something about. run: it counts against the runs' retries | place: a node, a queue or a
            person ended it, and the runs are tried elsewhere | memory: the pack was too large, or its run was.
        begun: directories of the runs that the job had begun; None: tell by their records.
    """

    job: Job
    lost: str | None = None
    runs: tuple[RunSpec, ...] | None = None
    blame: str = "run"
    begun: frozenset[str] | None = None


class Launcher(ABC):
    """Where packs execute.

    Attributes:
        capacity: how many jobs it can have under way at once; the coordinator keeps that many there.
        runs_per_job: runs that share a job; None: as many as share passes.
        places: times a run is placed anew after losses that were not its own.
        immediate: whether `submit` returns only when the pack has been executed.
        packs: whether the runs of a job share passes, where they can; only those that can then share a job.
        neighbours: how many jobs at once share the memory that one computes in, itself included.
    """

    capacity: int
    runs_per_job: int | None = None
    places: int = 10
    immediate: bool = False
    packs: bool = False
    neighbours: int = 1

    @abstractmethod
    def submit(self, pack: RunBatch) -> Job:
        """Start a pack, or queue it; return at once unless there is nowhere else to execute it."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that ended since the last call, waiting up to `seconds` for one."""

    @abstractmethod
    def close(self) -> None:
        """Let go. Processes of this machine end at once; whoever wants their work checkpointed asks the runs to stop
        first. Jobs of a cluster go on, for the next coordinator to find.
        """

    def group(self, spec: RunSpec) -> str:
        """Runs share a job only if this is the same for them."""
        return ""

    def recover(self) -> list[Job]:
        """The jobs that an earlier coordinator of the study left under way."""
        return []

    def forget(self, job: Job) -> None:
        """End a recovered job whose runs nobody needs."""
        return  # a launcher that recovers none has none

    def withdraw(self, everything: bool = False) -> None:
        """Take back jobs that have not started, or all; `wait` then reports them as ended."""
        return  # a launcher without a queue of its own has none


def use_threads(count: int) -> None:
    """Limit torch, BLAS, OpenMP and the tokenizers in this process to `count` CPU threads: results on CPU depend on it.

    The tokenizers heed it only if they have not computed yet.
    """
    os.environ.setdefault("RAYON_NUM_THREADS", str(count))
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count)
