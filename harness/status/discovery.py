"""External view of a study: whether it has a live coordinator, and its jobs on a cluster.

Only reads files, so it works while a coordinator runs, on any machine that sees the directory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.launch.slurm.commands import JobState, NoAnswer, Refused, SlurmCommands
from harness.launch.slurm.job_states import ENDED, WAITING, SlurmState
from harness.launch.slurm.submissions import Jobs, SubmissionState
from harness.records.files import read_json
from harness.records.study_files import StudyPaths


def held(directory: Path) -> bool:
    """Return whether a live coordinator holds the study's lock."""
    path = StudyPaths(directory).lock
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # another user's lock, which cannot be opened for writing: rely on holder.json
        return StudyPaths(directory).holder.exists()
    lock.release()
    return False


@dataclass(frozen=True)
class ClusterTask:
    """One array task on a cluster: a batch of runs.

    Attributes:
        id: the scheduler's id, `<job>_<index>`; "" before it is submitted.
        name: name of the submission.
        job: job id of the whole submission.
        closed: whether the coordinator has closed the submission.
        state, reason, node: as last seen by the coordinator; "" if never seen.
        runs: `<cell>/<run>` of each run, in order.
    """

    id: str
    name: str
    job: str
    closed: bool
    state: str
    reason: str
    node: str
    runs: tuple[str, ...]

    @property
    def waiting(self) -> bool:
        """Return whether the task has not started, or not restarted."""
        return not self.state or self.state in WAITING

    @property
    def over(self) -> bool:
        """Return whether the task has ended for good."""
        return self.closed or self.state in ENDED


def looked_at(directory: Path) -> str | None:
    """Return when the coordinator last queried the states of its jobs; None if it never did."""
    asked = read_json(Jobs(directory).state).get("asked")
    return str(asked) if asked else None


def tasks(directory: Path) -> list[ClusterTask]:
    """Return the array tasks that a study submitted, in order of submission."""
    jobs = Jobs(directory)
    states = _mapping(read_json(jobs.state).get("jobs"))
    submissions = [read_json(path) for path in sorted(jobs.submissions())]
    submissions.sort(key=lambda submission: str(submission.get("created") or ""))
    return [task for submission in submissions for task in _tasks(submission, states)]


def _tasks(submission: dict[str, Any], states: dict[str, Any]) -> Iterator[ClusterTask]:
    job = str(submission.get("job_id") or "")
    batches = submission.get("batches")
    for index, batch in enumerate(batches if isinstance(batches, list) else []):
        identity = f"{job}_{index}" if job else ""
        seen = _mapping(states.get(identity))
        yield ClusterTask(
            id=identity,
            name=str(submission.get("name") or submission.get("token") or ""),
            job=job,
            closed=submission.get("state") == SubmissionState.CLOSED,
            state=str(seen.get("state") or "").split(" ")[0],  # e.g. `CANCELLED by 1000`
            reason=_reason(seen.get("reason")),
            node=str(seen.get("node") or ""),
            runs=tuple(run_name(Path(str(run.get("directory", "")))) for run in batch if isinstance(run, dict)),
        )


def run_name(directory: Path) -> str:
    """Return a run's name within its study: `<cell>/<run>`."""
    return f"{directory.parent.name}/{directory.name}"


def coordinator_job(directory: Path) -> dict[str, Any] | None:
    """Return the job of a detached coordinator: {job_id, submitted, command, state, node, reason}; or None.

    `state` is the scheduler's, `ENDED` once the job is over, and "" if unknown.
    """
    content = StudyPaths(directory).read_coordinator()
    if not content.get("job_id"):
        return None
    job = str(content["job_id"])
    known = _ask(job)
    if known is None:  # no scheduler on this machine
        # Callers ask when no process holds the study: a job that has started has ended. Otherwise nothing is known.
        begun = _has_begun(directory, str(content.get("submitted") or ""))
        known = {"state": SlurmState.ENDED if begun else "", "node": "", "reason": ""}
    return {**content, "job_id": job, **known}


def _has_begun(directory: Path, submitted: str) -> bool:
    """Return whether a coordinator has opened the study since its job was submitted."""
    journal = StudyPaths(directory).journal
    since = seconds(submitted)
    return since is not None and journal.exists() and journal.stat().st_mtime > since


@lru_cache(maxsize=1)
def _queue(half_minute: int) -> dict[str, JobState] | None:
    """Return the scheduler's queue, cached for half a minute; None if there is no scheduler or no answer."""
    try:
        return SlurmCommands(interval=0, seconds=10).queue()
    except (NoAnswer, Refused):
        return None


def _ask(job: str) -> dict[str, str] | None:
    """Return the state of a job; None if there is no scheduler."""
    if (queue := _queue(int(time.monotonic() // 30))) is None:
        return None
    if (found := queue.get(job)) is None:
        return {"state": SlurmState.ENDED, "node": "", "reason": ""}
    return {"state": found.state, "node": found.node, "reason": _reason(found.reason)}


def seconds(stamp: str | None) -> float | None:
    """Convert an ISO 8601 time to seconds since the epoch; None if it is invalid."""
    try:
        return datetime.fromisoformat(stamp or "").timestamp()
    except ValueError:
        return None


def _reason(said: Any) -> str:
    return "" if said in (None, "None") else str(said)  # Slurm reports `None` for running jobs


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
