"""A study's Slurm submissions on disk. Each is written before it is submitted, so that nothing is submitted twice.

    <study>/jobs/<token>.json         a Submission: one job array; its Slurm job name contains the token
    <study>/jobs/<token>.batches.json   the complete run specifications of each task
    <study>/jobs/ended/               one file, empty or small, for each event (see `Marker`)
    <study>/jobs/state.json           job states last reported by Slurm
    <study>/jobs/logs/                output of the jobs
    <run>/lease.json                  which task may write to the run's directory

Jobs communicate with the coordinator only by these files. All markers lie in one directory, so that polling any number
of jobs lists one directory.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.records.files import atomic, now, write_json
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.study_files import LEASE, StudyPaths


class SubmissionState(StrEnum):
    """State of a submission, as written to its file."""

    INTENDED = "intended"  # not yet known to Slurm
    SUBMITTED = "submitted"
    CLOSED = "closed"  # none of its jobs is live


@dataclass
class Submission:
    """One job array.

    Attributes:
        token: unique id, used in its files and in Slurm.
        name: name of the Slurm job.
        created: creation time, ISO 8601.
        resources: sbatch parameters, by submitit's names.
        code: code snapshot that its jobs run.
        threads: CPU threads per run.
        max_requeues: how often a task may be requeued.
        batches: runs of each task: directory, cell, phase, trial and seed.
        job_id: Slurm's job id; None until it is known.
        state: whether Slurm knows it, and whether its jobs are live.
    """

    token: str
    name: str
    created: str
    resources: dict[str, Any]
    code: str
    threads: int
    max_requeues: int
    batches: list[list[dict[str, Any]]]
    job_id: str | None = None
    state: SubmissionState = SubmissionState.INTENDED


@dataclass(frozen=True)
class Marker:
    """The name of a file in `ended/`: `<token>.<task>.<what>.<number>`.

    `run.<k>`: the k-th run of the task's batch has ended, or is paused at a rung. `error.<restart>`: the task failed;
    the file contains the reason. `stopped.<restart>`: a stop file ended the task, or it could not be requeued.
    """

    token: str
    task: int
    what: str
    number: int

    @classmethod
    def parse(cls, name: str) -> Marker | None:
        """Parse a file name; return None if it is not a marker (e.g. a temporary file)."""
        parts = name.split(".")
        if len(parts) != 4 or not (parts[1].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], int(parts[1]), parts[2], int(parts[3]))

    def __str__(self) -> str:
        return f"{self.token}.{self.task}.{self.what}.{self.number}"


@dataclass
class Jobs:
    """The submissions of a study.

    Attributes:
        study: the study's directory.
    """

    study: Path
    directory: Path = field(init=False)

    def __post_init__(self) -> None:
        self.directory = StudyPaths(self.study).jobs

    @property
    def ended(self) -> Path:
        """The directory of the markers."""
        return self.directory / "ended"

    @property
    def logs(self) -> Path:
        """The directory of the jobs' output."""
        return self.directory / "logs"

    @property
    def state(self) -> Path:
        """The file with the job states last reported by Slurm."""
        return self.directory / "state.json"

    @property
    def nodes(self) -> Path:
        """The file with the nodes to avoid."""
        return self.directory / "nodes.json"

    def make(self) -> None:
        """Create the directories."""
        for directory in (self.ended, self.logs):
            directory.mkdir(parents=True, exist_ok=True)

    def intend(
        self, batches: Iterable[RunBatch], resources: dict[str, Any], code: Path, threads: int, max_requeues: int
    ) -> Submission:
        """Write a new submission durably to disk, and leases for its token, before it is sent to Slurm."""
        batches = list(batches)
        token = secrets.token_hex(6)
        short = [
            [
                {"directory": run.directory, "cell": run.cell, "phase": run.phase, "trial": run.trial,
                 "seed": run.config["seed"]}
                for run in batch.runs
            ]
            for batch in batches
        ]  # fmt: skip
        submission = Submission(token, f"harness-{token}", now(), resources, str(code), threads, max_requeues, short)
        for batch in batches:
            for run in batch.runs:
                run.paths.directory.mkdir(parents=True, exist_ok=True)
                grant(run.paths.directory, token)
        _durable(self.directory / f"{token}.batches.json", [asdict(batch) for batch in batches])
        self.write(submission)
        return submission

    def write(self, submission: Submission) -> None:
        """Write the present state of a submission."""
        _durable(self.directory / f"{submission.token}.json", asdict(submission))

    def read(self, token: str) -> Submission:
        """Read a submission."""
        return Submission(**json.loads((self.directory / f"{token}.json").read_text(encoding="utf-8")))

    def submissions(self) -> list[Path]:
        """Return the files of all submissions, without those of their complete specifications, which are large."""
        others = (self.state.name, self.nodes.name)
        return [path for path in self.directory.glob("*.json") if "." not in path.stem and path.name not in others]

    def open(self) -> list[Submission]:
        """Return the submissions that are not closed, oldest first."""
        found = []
        for path in self.submissions():
            with suppress(OSError, ValueError, TypeError):
                submission = self.read(path.stem)
                if submission.state != SubmissionState.CLOSED:
                    found.append(submission)
        return sorted(found, key=lambda submission: submission.created)

    def batches(self, token: str) -> list[RunBatch]:
        """Return the run batch of each task of a submission."""
        content = json.loads((self.directory / f"{token}.batches.json").read_text(encoding="utf-8"))
        return [RunBatch(**batch | {"runs": tuple(RunSpec(**run) for run in batch["runs"])}) for batch in content]

    def close(self, submission: Submission) -> None:
        """Mark a submission as closed (it has no live jobs), and delete its other files."""
        submission.state = SubmissionState.CLOSED
        self.write(submission)
        (self.directory / f"{submission.token}.batches.json").unlink(missing_ok=True)
        for path in self.ended.glob(f"{submission.token}.*"):
            path.unlink(missing_ok=True)

    def mark(self, marker: Marker, text: str = "") -> None:
        """Write a marker."""
        with atomic(self.ended / str(marker)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def markers(self) -> dict[Marker, Path]:
        """Return all markers, with their paths."""
        # A network file system may serve a listing from its cache; a change by this client forces a fresh one.
        with suppress(OSError):
            os.utime(self.ended)
        found: dict[Marker, Path] = {}
        for entry in os.scandir(self.ended):
            if (marker := Marker.parse(entry.name)) is not None:
                found[marker] = Path(entry.path)
        return found


def grant(directory: Path, token: str) -> None:
    """Grant a submission's task the right to write to a run's directory, and revoke all earlier rights."""
    write_json(directory / LEASE, {"token": token, "restart": -1})


def claim(directory: Path, token: str, restart: int) -> bool:
    """Claim a run's directory for one start of a task; False if it belongs to another task or a later start."""
    held = _lease(directory)
    if held is None or held[0] != token or held[1] > restart:
        return False
    write_json(directory / LEASE, {"token": token, "restart": restart})
    return True


def revoke(directory: Path, token: str) -> None:
    """Revoke a submission's right to write to a run's directory, unless another submission has it by now."""
    if token in belongs(directory):
        grant(directory, "")


def belongs(directory: Path) -> dict[str, int]:
    """Return the owner of a run's directory: {token: restart}, restart -1 while unclaimed; {} if it has none."""
    held = _lease(directory)
    return {} if held is None or not held[0] else {held[0]: held[1]}


def holds(directory: Path, token: str, restart: int) -> bool:
    """Return whether a run's directory still belongs to this start of this task."""
    return _lease(directory) == (token, restart)


def _lease(directory: Path) -> tuple[str, int] | None:
    try:
        content = json.loads((directory / LEASE).read_text(encoding="utf-8"))
        return str(content["token"]), int(content["restart"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _durable(path: Path, content: Any) -> None:
    """Write JSON and sync it to disk."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
