"""What a study has submitted to Slurm, on disk: written before it is submitted, so that nothing is submitted twice.

    <study>/jobs/<token>.json         a Submission: one job array; its name in Slurm carries the token
    <study>/jobs/<token>.packs.json   the runs of each of its tasks, whole
    <study>/jobs/ended/               one empty or small file for each thing that ended (see `Marker`)
    <study>/jobs/state.json           what Slurm last said of the jobs
    <study>/jobs/logs/                what the jobs printed
    <run>/lease.json                  who may write into the run's directory

Jobs talk to the coordinator by these files alone. All markers lie in one directory, so that a look at any number of
jobs lists one directory.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.records.files import atomic, now, write_json
from harness.records.run_spec import RunBatch, RunSpec

LEASE = "lease.json"
COORDINATOR = "coordinator.json"  # of a detached study: which job coordinates it


@dataclass
class Submission:
    """One job array.

    Attributes:
        token: names it, in its files and in Slurm.
        name: of the job in Slurm.
        created: when, ISO 8601.
        resources: sbatch parameters, submitit's names.
        code: the snapshot that its jobs run.
        threads: CPU threads of a run.
        max_requeues: times a task may be requeued.
        packs: what each task executes: directory, cell, phase, trial and seed of each run.
        job_id: Slurm's; None until it is known.
        state: intended (not known to Slurm yet) | submitted | closed (nothing of it is under way any more).
    """

    token: str
    name: str
    created: str
    resources: dict[str, Any]
    code: str
    threads: int
    max_requeues: int
    packs: list[list[dict[str, Any]]]
    job_id: str | None = None
    state: str = "intended"


@dataclass(frozen=True)
class Marker:
    """The name of a file in `ended/`: `<token>.<task>.<what>.<number>`.

    `run.<k>`: the k-th run of the task's pack has ended, or waits at a rung. `error.<restart>`: the task could not go
    on; the file says why. `stopped.<restart>`: a stop file asked it to end, or it could not be requeued.
    """

    token: str
    task: int
    what: str
    number: int

    @classmethod
    def parse(cls, name: str) -> Marker | None:
        """Read a file name; None if it is no marker (a temporary file)."""
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
        self.directory = self.study / "jobs"

    @property
    def ended(self) -> Path:
        """Where jobs leave their markers."""
        return self.directory / "ended"

    @property
    def logs(self) -> Path:
        """What jobs print."""
        return self.directory / "logs"

    @property
    def state(self) -> Path:
        """What Slurm last said."""
        return self.directory / "state.json"

    def make(self) -> None:
        """Make the directories."""
        for directory in (self.ended, self.logs):
            directory.mkdir(parents=True, exist_ok=True)

    def intend(
        self, packs: Iterable[RunBatch], resources: dict[str, Any], code: Path, threads: int, max_requeues: int
    ) -> Submission:
        """Write a new submission to the disk for good, and leases in its name, before Slurm hears of it."""
        packs = list(packs)
        token = secrets.token_hex(6)
        short = [
            [
                {"directory": run.directory, "cell": run.cell, "phase": run.phase, "trial": run.trial,
                 "seed": run.config["seed"]}
                for run in pack.runs
            ]
            for pack in packs
        ]  # fmt: skip
        submission = Submission(token, f"harness-{token}", now(), resources, str(code), threads, max_requeues, short)
        for pack in packs:
            for run in pack.runs:
                run.paths.directory.mkdir(parents=True, exist_ok=True)
                grant(run.paths.directory, token)
        _durable(self.directory / f"{token}.packs.json", [asdict(pack) for pack in packs])
        self.write(submission)
        return submission

    def write(self, submission: Submission) -> None:
        """Write a submission as it is now."""
        _durable(self.directory / f"{submission.token}.json", asdict(submission))

    def read(self, token: str) -> Submission:
        """Read a submission."""
        return Submission(**json.loads((self.directory / f"{token}.json").read_text(encoding="utf-8")))

    def open(self) -> list[Submission]:
        """The submissions that are not closed, oldest first."""
        found = []
        for path in self.directory.glob("*.json"):
            if path.name in (self.state.name, "nodes.json") or path.name.endswith(".packs.json"):
                continue
            with suppress(OSError, ValueError, TypeError):
                submission = self.read(path.stem)
                if submission.state != "closed":
                    found.append(submission)
        return sorted(found, key=lambda submission: submission.created)

    def packs(self, token: str) -> list[RunBatch]:
        """The runs of each task of a submission."""
        content = json.loads((self.directory / f"{token}.packs.json").read_text(encoding="utf-8"))
        return [RunBatch(**pack | {"runs": tuple(RunSpec(**run) for run in pack["runs"])}) for pack in content]

    def close(self, submission: Submission) -> None:
        """Note that nothing of a submission is under way any more, and clear away what only it needed."""
        submission.state = "closed"
        self.write(submission)
        (self.directory / f"{submission.token}.packs.json").unlink(missing_ok=True)
        for path in self.ended.glob(f"{submission.token}.*"):
            path.unlink(missing_ok=True)

    def mark(self, marker: Marker, text: str = "") -> None:
        """Leave a marker."""
        with atomic(self.ended / str(marker)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def markers(self) -> dict[Marker, Path]:
        """All markers there are."""
        # A network file system may answer a listing from its cache; a change by this very client makes it look.
        with suppress(OSError):
            os.utime(self.ended)
        found: dict[Marker, Path] = {}
        for entry in os.scandir(self.ended):
            if (marker := Marker.parse(entry.name)) is not None:
                found[marker] = Path(entry.path)
        return found


def grant(directory: Path, token: str) -> None:
    """Let a submission's job write into a run's directory, and nobody before it any more."""
    write_json(directory / LEASE, {"token": token, "restart": -1})


def claim(directory: Path, token: str, restart: int) -> bool:
    """Take a run's directory for one start of a job; False if it belongs to another job or a later start."""
    held = _lease(directory)
    if held is None or held[0] != token or held[1] > restart:
        return False
    write_json(directory / LEASE, {"token": token, "restart": restart})
    return True


def revoke(directory: Path, token: str) -> None:
    """Let a submission's job not write into a run's directory any more, unless it is another's already."""
    if token in belongs(directory):
        grant(directory, "")


def belongs(directory: Path) -> dict[str, int]:
    """Whose a run's directory is: {token: restart}, restart -1 as long as no job has claimed it; {} nobody's."""
    held = _lease(directory)
    return {} if held is None or not held[0] else {held[0]: held[1]}


def holds(directory: Path, token: str, restart: int) -> bool:
    """Whether a run's directory still belongs to this start of this job."""
    return _lease(directory) == (token, restart)


def _lease(directory: Path) -> tuple[str, int] | None:
    try:
        content = json.loads((directory / LEASE).read_text(encoding="utf-8"))
        return str(content["token"]), int(content["restart"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _durable(path: Path, content: Any) -> None:
    """Write JSON so that it is on the disk when this returns."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
