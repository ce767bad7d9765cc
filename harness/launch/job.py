"""One task of a Slurm array: `python -m harness.launch.job <study's directory> <token>`.

It claims the runs of its pack, executes them one after another on one warm process, and leaves a marker for each. When
it is warned of its time limit or of preemption, the run under way checkpoints between two steps and the task asks Slurm
to be requeued; started again, it goes on where it was. A task whose runs belong to somebody else by now writes nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

REQUEUE_SECONDS = 3600.0  # how long a controller that does not answer is asked to requeue the task


class Warned:
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
    warned = Warned()  # before the slow imports: by default these signals would end the process
    from harness.launch.submissions import Jobs, Marker, claim, holds

    jobs, token = Jobs(Path(sys.argv[1])), sys.argv[2]
    task = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    try:
        submission = jobs.read(token)
        if submission.state == "closed":
            _say(f"The submission {token} is closed; nothing to do.")
            return 0
        runs = jobs.packs(token)[task].runs
        mine = [claim(spec.paths.directory, token, restart) for spec in runs]
        from harness.launch.base import use_threads
        from harness.record import Pack
        from harness.run import execute

        use_threads(submission.threads)
        for number, spec in enumerate(runs):
            if warned():
                break
            if not mine[number]:
                continue
            if not _finished(spec.paths.record, spec.signature):
                execute(
                    Pack((spec,)),
                    interrupted=warned,
                    say=_say,
                    holds=lambda run: holds(run.paths.directory, token, restart),
                )
            if _finished(spec.paths.record, spec.signature):
                jobs.mark(Marker(token, task, "run", number))
            elif not warned():
                # A stop file asked for a checkpoint, or another process took the run over.
                jobs.mark(Marker(token, task, "stopped", restart))
                return 0
    except Exception as error:
        jobs.mark(Marker(token, task, "error", restart), f"{type(error).__name__}: {error}")
        raise
    if warned.limit and not warned.ending:
        if restart >= submission.max_requeues:
            jobs.mark(Marker(token, task, "error", restart), f"It was requeued {restart} times without an end.")
            return 1
        return requeue()
    return 1 if warned() else 0


def _finished(path: Path, signature: str) -> bool:
    from harness.record import CorruptRecord, Record

    try:
        record = Record.read(path)
    except CorruptRecord:
        return False
    return record is not None and record.signature == signature and record.status in ("ok", "failed", "pruned")


def requeue() -> int:
    """Ask Slurm, until it answers, to start the job of this process again; it ends this process when it does."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task is not None else os.environ["SLURM_JOB_ID"]
    deadline = time.monotonic() + REQUEUE_SECONDS
    while True:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            time.sleep(30)  # not to be seen as ended before it is requeued
            return 0
        _say(f"scontrol requeue {job}: {(done.stderr or done.stdout).strip()}")
        if time.monotonic() > deadline:
            return 1
        time.sleep(3)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - goes to the job's output


if __name__ == "__main__":
    sys.exit(main())
