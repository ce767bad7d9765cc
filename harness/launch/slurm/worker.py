"""One task of a Slurm array: `python -m harness.launch.slurm.worker <study's directory> <token>`.

The task claims each run of its batch when it starts it, executes all runs in one warm process, and writes a marker for
each. On a warning of its time limit or of preemption, the active runs write a checkpoint between two steps, and the
task asks Slurm to requeue it; the next start resumes them. A task that no longer owns its runs writes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from harness.launch.slurm.submissions import Jobs
    from harness.records.run_spec import RunSpec

FULL_SECONDS = 1800.0  # how long a job waits for space on a full disk
REFUSALS = 3  # refusals after which requeueing is given up: a controller in trouble may refuse by mistake
REQUEUE_SECONDS = 3600.0  # how long to retry requeueing while the controller does not answer


class EndSignals:
    """Flags for the signals that announce the end of a task."""

    def __init__(self) -> None:
        self.limit = False  # SIGUSR2: the time limit is near, or preemption on clusters that send the user's signal
        self.ending = False  # SIGTERM: cancelled, preempted or requeued; Slurm decides what follows
        signal.signal(signal.SIGUSR2, self._on_limit)
        signal.signal(signal.SIGTERM, self._on_end)

    def __call__(self) -> bool:
        """Return whether to write a checkpoint and stop."""
        return self.limit or self.ending

    def _on_limit(self, number: int, frame: FrameType | None) -> None:
        self.limit = True

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True


def main() -> int:
    """Execute the task given by SLURM_ARRAY_TASK_ID; return the exit code."""
    warned = EndSignals()  # installed before the slow imports: by default these signals end the process
    from harness.launch.slurm.submissions import Jobs, SubmissionState
    from harness.launch.step_ranks import StepRanks
    from harness.system.machine import restarts

    task = TaskStart(
        Jobs(Path(sys.argv[1])),
        sys.argv[2],
        int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")),
        restarts(),
    )
    ranks = StepRanks.of_environment()
    try:
        submission = task.jobs.read(task.token)
        if not ranks.join(warned, submission.threads, task.device if ranks.size > 1 else "auto", task.token):
            return 0
        # Rank 0 decides this for all: the file may change between the moments at which ranks read it.
        if task.jobs.read(task.token).state == SubmissionState.CLOSED:
            _say(f"The submission {task.token} is closed; nothing to do.")
            ranks.dismiss()
            return 0
        done = task.execute(warned, submission.threads)
        ranks.dismiss()
        if done:
            return 0
    except Exception as error:
        task.mark("error", f"{ranks.named}{type(error).__name__}: {error}")
        raise
    if warned.ending:
        return 1  # Slurm decides what follows
    if task.restart >= submission.max_requeues:
        task.mark("error", f"It was requeued {task.restart} times without finishing.")
        return 1
    if code := requeue():
        task.mark("stopped")  # its runs are started elsewhere, from their checkpoints
    return code


T = TypeVar("T")


@dataclass
class TaskStart:
    """One start of one array task.

    Attributes:
        jobs: the study's submissions.
        token: token of the submission.
        number: index of the task.
        restart: how often Slurm has requeued it.
    """

    jobs: Jobs
    token: str
    number: int
    restart: int
    _claimed: set[Path] = field(default_factory=set)
    _refused: set[Path] = field(default_factory=set)

    @property
    def device(self) -> str:
        """The configured device of the runs; auto if the submission was closed meanwhile, and its batches deleted."""
        with suppress(FileNotFoundError):
            return str(self.jobs.batches(self.token)[self.number].runs[0].config["device"])
        return "auto"

    def execute(self, warned: EndSignals, threads: int) -> bool:
        """Execute the runs of the batch; return True when nothing is left to do, False if a signal came first."""
        from harness.launch.base import use_threads
        from harness.launch.slurm.submissions import Marker
        from harness.runs.execute import execute

        use_threads(threads)
        batch = self.jobs.batches(self.token)[self.number]
        marked: set[int] = set()

        def settled(spec: RunSpec) -> None:
            if spec.result() and (index := batch.runs.index(spec)) not in marked:
                self._retry_while_disk_full(
                    partial(self.jobs.mark, Marker(self.token, self.number, "run", index)), warned
                )
                marked.add(index)

        for spec in batch.runs:  # finished by an earlier start
            settled(spec)
        while left := tuple(spec for spec in batch.runs if not spec.result() and self._may_take(spec)):
            if warned():
                return False

            def rest(runs: tuple[RunSpec, ...] = left) -> None:
                # After a wait for disk space, some have already ended.
                todo = replace(batch, runs=tuple(spec for spec in runs if not spec.result()))
                execute(todo, warned, _say, lambda run: self._takes(run, warned), settled)

            self._retry_while_disk_full(rest, warned)
            if any(not spec.result() and self._holds(spec.paths.directory) for spec in left) and not warned():
                self.mark("stopped")
                return True
        return True

    def _takes(self, spec: RunSpec, warned: EndSignals) -> bool:
        """Claim a run unless that is already done; return whether this start owns it.

        A later start of this task may have taken over, or the run may have been given to another job.
        """
        from harness.launch.slurm.submissions import claim

        directory = spec.paths.directory
        if directory in self._claimed:
            return self._holds(directory)
        if self._retry_while_disk_full(partial(claim, directory, self.token, self.restart), warned):
            self._claimed.add(directory)
            return True
        if directory not in self._refused:
            _say(f"{directory} belongs to another job now.")
        self._refused.add(directory)
        return False

    def _may_take(self, spec: RunSpec) -> bool:
        directory = spec.paths.directory
        return directory not in self._refused and (directory not in self._claimed or self._holds(directory))

    def _retry_while_disk_full(self, action: Callable[[], T], warned: EndSignals) -> T:
        """Call `action`; while the disk is full, wait for space and retry."""
        from harness.errors import is_disk_full

        until = time.monotonic() + FULL_SECONDS
        while True:
            try:
                return action()
            except Exception as error:
                if not is_disk_full(error) or time.monotonic() > until or warned():
                    raise
                _say(f"The disk is full ({error}); waiting for space.")
                time.sleep(5)

    def mark(self, what: str, text: str = "") -> None:
        """Report to the coordinator how this start ended, unless a later one has taken over."""
        from harness.launch.slurm.submissions import Marker

        if all(self._holds(directory) for directory in self._claimed):
            self.jobs.mark(Marker(self.token, self.number, what, self.restart), text)

    def _holds(self, directory: Path) -> bool:
        from harness.launch.slurm.submissions import holds

        return holds(directory, self.token, self.restart)


def requeue() -> int:
    """Ask Slurm to requeue this process's job until it answers; when it does, it ends this process."""
    from harness.launch.slurm.commands import NoAnswer, Refused, SlurmCommands

    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task is not None else os.environ["SLURM_JOB_ID"]
    cluster = SlurmCommands(interval=0)
    deadline = time.monotonic() + REQUEUE_SECONDS
    refused = 0
    while time.monotonic() < deadline:
        try:
            cluster.requeue(job)
        except NoAnswer as error:
            _say(f"scontrol requeue {job}: {error}")
            time.sleep(3)
        except Refused as error:  # also if there is no scontrol, as in a container without Slurm's commands
            _say(f"scontrol requeue {job}: {error}")
            refused += 1
            if refused == REFUSALS:
                return 1
            time.sleep(3)
        else:
            time.sleep(30)  # do not exit before Slurm requeues the job, or it would count as ended
            return 0
    return 1


def _say(line: str) -> None:
    with suppress(OSError):  # the output file may lie on a full disk
        print(line, flush=True)  # noqa: T201 - goes to the job's output


if __name__ == "__main__":
    sys.exit(main())
