"""An array task, as the coordinator tracks it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.launch.base import Job
from harness.launch.slurm.submissions import Submission, belongs
from harness.records.run_spec import RunSpec

UNSENT = Submission("", "", "", {}, "", 1, 0, [])  # placeholder of a task whose submission has not been written to disk


@dataclass(eq=False)
class ArrayTask(Job):
    """One task of a job array, as its coordinator tracks it.

    Attributes:
        submission, task: the submission, and the task's index in it.
        left: indices of the runs in the batch that have not ended yet.
        seen: how often in a row Slurm reported it as missing or in a transient state.
        gone: whether the queue no longer lists it.
        waits: time since which it has been seen pending.
        withdrawn: whether it is being cancelled because the study stops.
    """

    submission: Submission
    task: int
    left: set[int] = field(default_factory=set)
    seen: int = 0
    gone: bool = False
    waits: float | None = None
    withdrawn: bool = False

    @property
    def id(self) -> str | None:
        """Return Slurm's id of the task."""
        return None if self.submission.job_id is None else f"{self.submission.job_id}_{self.task}"

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """Return the runs that have not ended yet."""
        return tuple(self.batch.runs[number] for number in sorted(self.left))

    def take_back(self) -> None:
        """Detach the task from its submission; its remaining runs are submitted again in another."""
        self.batch = replace(self.batch, runs=self.runs)
        self.submission, self.task, self.left = UNSENT, 0, set(range(len(self.batch.runs)))

    def has_begun(self, run: RunSpec) -> bool:
        """Return whether this task, and not another, has claimed the run."""
        return belongs(run.paths.directory).get(self.submission.token, -1) >= 0
