"""Studies seen from outside: whether someone coordinates them, and their jobs on a cluster.

Reads files only, so it works beside a coordinator that runs, on any machine that sees the directory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.launch.slurm.commands import JobState, NoAnswer, Refused, SlurmCommands
from harness.launch.slurm.submissions import COORDINATOR

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "ENDED")


def held(directory: Path) -> bool:
    """Whether a coordinator holds the study now."""
    path = directory / "study.lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # another user's, which cannot be opened for writing: believe what stands beside it
        return (directory / "holder.json").exists()
    lock.release()
    return False


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} where there is none or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class ClusterTask:
    """One job of a cluster: a pack of runs, one after another.

    Attributes:
        id: as the scheduler calls it, `<job>_<index>`; "" before it was submitted.
        name: of the submission.
        job: the id of the whole submission.
        closed: whether the coordinator expects nothing of it any more.
        state, reason, node: at the coordinator's last look; "" if it has not looked yet.
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
        """Whether it has not begun, or not begun again."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "PREEMPTED", "CONFIGURING", "")

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.closed or self.state in ENDED


def looked_at(directory: Path) -> str | None:
    """When the coordinator last asked for the states of its jobs; None if it never did."""
    asked = read_json(directory / "jobs" / "state.json").get("asked")
    return str(asked) if asked else None


def tasks(directory: Path) -> list[ClusterTask]:
    """The jobs that a study submitted to a cluster, in the order of their submission."""
    folder = directory / "jobs"
    states = _mapping(read_json(folder / "state.json").get("jobs"))
    # `<token>.packs.json` beside each holds the same runs whole, which is much to read and not needed here.
    paths = [path for path in sorted(folder.glob("*.json")) if "." not in path.stem and path.name != "state.json"]
    submissions = [read_json(path) for path in paths]
    submissions.sort(key=lambda submission: str(submission.get("created") or ""))
    return [task for submission in submissions for task in _tasks(submission, states)]


def _tasks(submission: dict[str, Any], states: dict[str, Any]) -> Iterator[ClusterTask]:
    job = str(submission.get("job_id") or "")
    packs = submission.get("packs")
    for index, pack in enumerate(packs if isinstance(packs, list) else []):
        identity = f"{job}_{index}" if job else ""
        seen = _mapping(states.get(identity))
        yield ClusterTask(
            id=identity,
            name=str(submission.get("name") or submission.get("token") or ""),
            job=job,
            closed=submission.get("state") == "closed",
            state=str(seen.get("state") or "").split(" ")[0],  # `CANCELLED by 1000`
            reason=_reason(seen.get("reason")),
            node=str(seen.get("node") or ""),
            runs=tuple(run_name(Path(str(run.get("directory", "")))) for run in pack if isinstance(run, dict)),
        )


def run_name(directory: Path) -> str:
    """Name a run within its study: `<cell>/<run>`."""
    return f"{directory.parent.name}/{directory.name}"


def coordinator_job(directory: Path) -> dict[str, Any] | None:
    """The job that coordinates a detached study: {job_id, submitted, command, state, node, reason}; None without one.

    Its `state` is the scheduler's word, `ENDED` once it is over, and "" if that cannot be told.
    """
    content = read_json(directory / COORDINATOR)
    if not content.get("job_id"):
        return None
    job = str(content["job_id"])
    known = _ask(job)
    if known is None:  # no scheduler here to be asked
        # It began, and whoever asks here knows that nobody holds the study; else nothing can be told.
        begun = _has_begun(directory, str(content.get("submitted") or ""))
        known = {"state": "ENDED" if begun else "", "node": "", "reason": ""}
    return {**content, "job_id": job, **known}


def _has_begun(directory: Path, submitted: str) -> bool:
    """Whether a coordinator has opened the study since its job was submitted."""
    journal = directory / "study.journal"
    since = seconds(submitted)
    return since is not None and journal.exists() and journal.stat().st_mtime > since


@lru_cache(maxsize=1)
def _queue(half_minute: int) -> dict[str, JobState] | None:
    """The scheduler's queue, asked at most once every half minute; None if there is none, or it does not answer."""
    try:
        return SlurmCommands(interval=0, seconds=10).queue()
    except (NoAnswer, Refused):
        return None


def _ask(job: str) -> dict[str, str] | None:
    """The state of a job; None if there is no scheduler to be asked."""
    if (queue := _queue(int(time.monotonic() // 30))) is None:
        return None
    if (found := queue.get(job)) is None:
        return {"state": "ENDED", "node": "", "reason": ""}
    return {"state": found.state, "node": found.node, "reason": _reason(found.reason)}


def seconds(stamp: str | None) -> float | None:
    """An ISO 8601 time as seconds since the epoch; None if it is none."""
    try:
        return datetime.fromisoformat(stamp or "").timestamp()
    except ValueError:
        return None


def _reason(said: Any) -> str:
    return "" if said in (None, "None") else str(said)  # Slurm says `None` of a job that runs


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
