"""Cancellation of a study that no coordinator is running."""

from __future__ import annotations

import time
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.slurm.commands import NoAnswer, SlurmCommands
from harness.launch.slurm.job_states import ALIVE, SlurmState
from harness.launch.slurm.submissions import Jobs
from harness.records.states import StopRequest
from harness.records.study_files import RunPaths, StudyPaths

TRIES, TRY_SECONDS = 6, 3.0  # how long running jobs get to write their checkpoints


def cancel_study(study: Path) -> int:
    """Stop the jobs of a study without a coordinator: running ones write a checkpoint, pending ones are cancelled.

    Returns:
        The number of jobs that were not closed.

    Raises:
        HarnessError: Slurm does not answer, or refuses the command.
    """
    cluster = SlurmCommands(interval=0)
    jobs = Jobs(study.resolve())
    count = 0
    try:
        if (coordinator := _coordinator(study)) is not None:
            cluster.cancel([coordinator])
            count += 1
        for submission in jobs.open():
            for run in (run for batch in submission.batches for run in batch):
                RunPaths(Path(run["directory"])).ask(StopRequest.CHECKPOINT)
            count += len(submission.batches)
        _close_ended(cluster, jobs)
    except NoAnswer as error:
        raise HarnessError(
            f"Slurm does not answer ({error}). The runs are asked for a checkpoint; run the command again when `sinfo` "
            "answers, to cancel what waits in the queue."
        ) from error
    return count


def _close_ended(cluster: SlurmCommands, jobs: Jobs) -> None:
    """Cancel pending jobs, also those whose submission was not confirmed; close submissions without live jobs."""
    for _ in range(TRIES):
        queue = cluster.queue()
        for submission in jobs.open():
            alive = {key: s.state for key, s in queue.items() if s.name == submission.name and s.state in ALIVE}
            if not alive:
                jobs.close(submission)
            if waiting := [key for key, state in alive.items() if state == SlurmState.PENDING]:
                cluster.cancel(waiting, pending_only=True)
        if not jobs.open():
            return
        time.sleep(TRY_SECONDS)


def _coordinator(study: Path) -> str | None:
    """Return the job id of a detached coordinator; None if there is none."""
    job = StudyPaths(study).read_coordinator().get("job_id")
    return None if job is None else str(job)
