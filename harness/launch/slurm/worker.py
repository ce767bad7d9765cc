"""One task of a Slurm array: `python -m harness.launch.slurm.worker <study's directory> <token>`.

It claims the runs of its pack as it begins them, executes them on one warm process, and leaves a marker for each. When
it is warned of its time limit or of preemption, what is under way checkpoints between two steps and the task asks Slurm
to be requeued; started again, it goes on where it was. A task whose runs belong to somebody else by now writes nothing.
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
REFUSALS = 3  # what a controller in trouble says is not always what it means
REQUEUE_SECONDS = 3600.0  # how long a controller that does not answer is asked to requeue the task


class EndSignals:
    """The signals that end a task before its time."""

    def __init__(self) -> None:
        self.limit = False  # SIGUSR2: the time limit is near, or preemption where it sends the user's signal
        self.ending = False  # SIGTERM: cancelled, preempted or requeued; Slurm decides what follows
        signal.signal(signal.SIGUSR2, self._on_limit)
        signal.signal(signal.SIGTERM, self._on_end)

    def __call__(self) -> bool:
        """Whether a checkpoint is wanted."""
        return self.limit or self.ending

    def _on_limit(self, number: int, frame: FrameType | None) -> None:
        self.limit = True

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True


def main() -> int:
    """Execute the task that SLURM_ARRAY_TASK_ID names; give the exit code."""
    warned = EndSignals()  # before the slow imports: by default these signals would end the process
    from harness.launch.slurm.submissions import Jobs
    from harness.system.machine import restarts

    task = TaskStart(
        Jobs(Path(sys.argv[1])),
        sys.argv[2],
        int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")),
        restarts(),
    )
    try:
        submission = task.jobs.read(task.token)
        if submission.state == "closed":
            _say(f"The submission {task.token} is closed; nothing to do.")
            return 0
        if task.execute(warned, submission.threads):
            return 0
    except Exception as error:
        task.mark("error", f"{type(error).__name__}: {error}")
        raise
    if warned.ending:
        return 1  # Slurm decides what follows
    if task.restart >= submission.max_requeues:
        task.mark("error", f"It was requeued {task.restart} times without an end.")
        return 1
    if code := requeue():
        task.mark("stopped")  # its runs are placed anew, from their checkpoints
    return code


T = TypeVar("T")


@dataclass
class TaskStart:
    """One start of one task of a submission.

    Attributes:
        jobs: the study's.
        token: of the submission.
        number: of the task.
        restart: how often Slurm has requeued it.
    """

    jobs: Jobs
    token: str
    number: int
    restart: int
    _claimed: set[Path] = field(default_factory=set)
    _refused: set[Path] = field(default_factory=set)

    def execute(self, warned: EndSignals, threads: int) -> bool:
        """Execute the runs of the pack; whether there is nothing more to do, False if it was warned before."""
        from harness.launch.base import use_threads
        from harness.launch.slurm.submissions import Marker
        from harness.runs.execute import execute

        use_threads(threads)
        pack = self.jobs.packs(self.token)[self.number]
        marked: set[int] = set()

        def settled(spec: RunSpec) -> None:
            if spec.result() and (index := pack.runs.index(spec)) not in marked:
                self._patiently(partial(self.jobs.mark, Marker(self.token, self.number, "run", index)), warned)
                marked.add(index)

        for spec in pack.runs:  # of an earlier start
            settled(spec)
        while left := tuple(spec for spec in pack.runs if not spec.result() and self._may_take(spec)):
            if warned():
                return False

            def rest(runs: tuple[RunSpec, ...] = left) -> None:
                # After a full disk, some have ended by now.
                todo = replace(pack, runs=tuple(spec for spec in runs if not spec.result()))
                execute(todo, warned, _say, lambda run: self._takes(run, warned), settled)

            self._patiently(rest, warned)
            if any(not spec.result() and self._holds(spec.paths.directory) for spec in left) and not warned():
                self.mark("stopped")
                return True
        return True

    def _takes(self, spec: RunSpec, warned: EndSignals) -> bool:
        """Claim a run, if that was not done yet; whether it is this start's.

        A later start of this very task may have taken over, or the run may have been given to another job.
        """
        from harness.launch.slurm.submissions import claim

        directory = spec.paths.directory
        if directory in self._claimed:
            return self._holds(directory)
        if self._patiently(partial(claim, directory, self.token, self.restart), warned):
            self._claimed.add(directory)
            return True
        if directory not in self._refused:
            _say(f"{directory} belongs to another job by now.")
        self._refused.add(directory)
        return False

    def _may_take(self, spec: RunSpec) -> bool:
        directory = spec.paths.directory
        return directory not in self._refused and (directory not in self._claimed or self._holds(directory))

    def _patiently(self, action: Callable[[], T], warned: EndSignals) -> T:
        """Do something; where a full disk is in its way, wait for space and do it again."""
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
        """Tell the coordinator how this start ended, unless a later one goes on already."""
        from harness.launch.slurm.submissions import Marker

        if all(self._holds(directory) for directory in self._claimed):
            self.jobs.mark(Marker(self.token, self.number, what, self.restart), text)

    def _holds(self, directory: Path) -> bool:
        from harness.launch.slurm.submissions import holds

        return holds(directory, self.token, self.restart)


def requeue() -> int:
    """Ask Slurm, until it answers, to start the job of this process again; it ends this process when it does."""
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
        except Refused as error:  # also where there is no scontrol, such as in a container without Slurm's commands
            _say(f"scontrol requeue {job}: {error}")
            refused += 1
            if refused == REFUSALS:
                return 1
            time.sleep(3)
        else:
            time.sleep(30)  # not to be seen as ended before it is requeued
            return 0
    return 1


def _say(line: str) -> None:
    with suppress(OSError):  # its file may lie on a full disk
        print(line, flush=True)  # noqa: T201 - goes to the job's output


if __name__ == "__main__":
    sys.exit(main())
