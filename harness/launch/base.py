"""The three nouns of every launcher: `Launcher` takes packs, `Job` is one pack under way, `Outcome` says how it ended.

What a run computed is never passed back: it lies in the run's record, which the coordinator reads. An outcome only says
whether the process that executed the pack lived to the end. So a launcher can be a function call, a pool or a cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from harness.record import Pack


@dataclass(eq=False)
class Job:
    """A pack under way."""

    pack: Pack


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: the job.
        lost: None if the process lived to the end (whatever the runs' records say), else why it did not.
    """

    job: Job
    lost: str | None = None


class Launcher(ABC):
    """Where packs execute.

    Attributes:
        capacity: how many jobs it can have under way at once; the coordinator keeps that many there.
    """

    capacity: int

    @abstractmethod
    def submit(self, pack: Pack) -> Job:
        """Start a pack, or queue it; return at once unless there is nowhere else to execute it."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that ended since the last call, waiting up to `seconds` for one."""

    @abstractmethod
    def close(self) -> None:
        """End all processes at once. Whoever wants work under way checkpointed asks the runs to stop first."""


def use_threads(count: int) -> None:
    """Limit torch, BLAS and OpenMP in this process to `count` CPU threads: results on CPU depend on it."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count)
