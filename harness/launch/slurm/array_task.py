"""One task of a job array, as the coordinator follows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.launch.base import Job
from harness.launch.slurm.submissions import Submission, belongs
from harness.records.run_spec import RunSpec

UNSENT = Submission("", "", "", {}, "", 1, 0, [])  # of a job that is not written down yet


@dataclass(eq=False)
class ArrayTask(Job):
    """One task of a submission, as its coordinator follows it.

    Attributes:
        submission, task: which.
        left: numbers of the runs in the pack that have not ended yet.
        seen: how often Slurm said in a row that it is gone, or in a state that passes.
        gone: whether the queue has forgotten it.
        waits: since when it has been seen waiting.
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
        """Slurm's id of the task."""
        return None if self.submission.job_id is None else f"{self.submission.job_id}_{self.task}"

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """The runs that have not ended yet."""
        return tuple(self.pack.runs[number] for number in sorted(self.left))

    def take_back(self) -> None:
        """Forget the submission: what is left of the pack goes out anew, in another."""
        self.pack = replace(self.pack, runs=self.runs)
        self.submission, self.task, self.left = UNSENT, 0, set(range(len(self.pack.runs)))

    def has_begun(self, run: RunSpec) -> bool:
        """Whether this very job has claimed a run."""
        return belongs(run.paths.directory).get(self.submission.token, -1) >= 0
