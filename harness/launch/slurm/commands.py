"""Slurm's commands: sbatch, squeue, sacct, scancel, scontrol. Only this file starts them and reads what they print."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.errors import HarnessError

# What says that the controller or the network did not answer, or that a limit will lift by itself: wait, ask again.
TRANSIENT = re.compile(
    r"unable to contact slurm controller|socket timed out|connection (refused|timed out|reset)|communication|"
    r"zero bytes were transmitted|resource temporarily unavailable|transport endpoint|controller.*(not|respond)|"
    r"slurm_load|slurm_persist|protocol authentication|munge|temporarily|in standby|timed out",
    re.IGNORECASE,
)
# Options that users may give sbatch by SBATCH_* for what the profile leaves open.
DEFAULTS = ("ACCOUNT", "PARTITION", "QOS", "CONSTRAINT", "RESERVATION")
FULL = re.compile(
    r"submit ?job ?limit|MaxSubmitJob|job submit limit|maximum (number of )?jobs|MaxJobCount", re.IGNORECASE
)

ALIVE = {
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_FED", "SIGNALING", "STAGE_OUT",
    "RESIZING", "STOPPED",
}  # fmt: skip
# A job that is requeued is seen in these for some seconds, so they count only when they are seen twice.
PASSING = {"NODE_FAIL", "PREEMPTED", "REQUEUE_HOLD", "SPECIAL_EXIT"}


class NoAnswer(Exception):
    """Slurm did not answer. What was asked may or may not have happened."""


class Full(NoAnswer):
    """Slurm takes no more jobs, or none so large, for now: it has not taken these."""


class Refused(HarnessError):
    """Slurm refused, in its own words."""


class NoCluster(Refused):
    """No Slurm is found from this machine, or from this shell."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"No Slurm cluster is found from here ({said}). Run the command on a login node of the cluster, or without "
            "slurm=<profile> on this machine. For slurm=devcluster: `slurm/devcluster/cluster start`, then "
            '`eval "$(slurm/devcluster/cluster env)"` in this shell.'
        )


@dataclass(frozen=True)
class JobState:
    """What Slurm says of one task of an array.

    Attributes:
        name: of the job.
        state: PENDING, RUNNING, FAILED, ...
        reason: why it waits, or how it ended.
        node: where it runs or ran; empty while it waits.
    """

    name: str
    state: str
    reason: str
    node: str


@dataclass
class SlurmCommands:
    """The cluster as this user sees it.

    Attributes:
        interval: seconds between two questions (squeue or sacct) at least.
        seconds: a command that takes longer is taken for a controller that does not answer.
        calls: how often each command was started.
    """

    interval: float
    seconds: float = 20.0
    calls: dict[str, int] = field(default_factory=dict)
    _asked: float = -1e9
    _nodes: dict[str, frozenset[str]] = field(default_factory=dict)  # by list; "" all of the cluster

    def due(self) -> float:
        """Seconds until the next question may be asked; 0 now."""
        return max(0.0, self._asked + self.interval - time.monotonic())

    def queue(self) -> dict[str, JobState]:
        """All jobs of this user that Slurm remembers, array tasks one by one, by id (`123_4`).

        Raises:
            NoAnswer: the controller does not answer.
        """
        self._asked = time.monotonic()
        out = self._call(
            "squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%N|%j"
        )
        found = {}
        for line in out.splitlines():
            parts = line.strip().split("|", 4)
            if len(parts) == 5:
                found[parts[0]] = JobState(parts[4], parts[1], parts[2], parts[3])
        return found

    def history(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        """What accounting says of jobs that the queue has forgotten; {} where a cluster has no accounting."""
        self._asked = time.monotonic()
        ids = ",".join(sorted(set(job_ids)))
        try:
            out = self._call(
                "sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={ids}",
                "--format=JobID,State,ExitCode,NodeList,JobName",
            )  # fmt: skip
        except (NoAnswer, Refused):
            return {}
        found = {}
        for line in out.splitlines():
            parts = line.split("|", 4)
            if len(parts) == 5:
                # `CANCELLED by 0` names the user.
                found[parts[0]] = JobState(parts[4], parts[1].split()[0], f"exit code {parts[2]}", parts[3])
        return found

    def only(self, nodelist: str | None, exclude: str | None) -> tuple[str | None, str | None]:
        """What says that a job of one node runs on one of several: (nodelist, exclude) for sbatch.

        Its own `--nodelist` would want all of them for each job. So more than one are said by excluding the others.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: the list cannot be read.
        """
        if not nodelist:
            return None, exclude
        if nodelist not in self._nodes:
            self._nodes[nodelist] = frozenset(self._call("scontrol", "show", "hostnames", nodelist).split())
        if len(wanted := self._nodes[nodelist]) == 1:
            return nodelist, exclude
        if "" not in self._nodes:
            self._nodes[""] = frozenset(self._call("sinfo", "--noheader", "--Node", "--all", "--format=%N").split())
        if unknown := sorted(wanted - self._nodes[""]):
            raise Refused(f"slurm.nodelist={nodelist}: the cluster has no node {', '.join(unknown[:3])}")
        return None, ",".join([*([exclude] if exclude else []), *sorted(self._nodes[""] - wanted)]) or None

    def submit(self, script: str) -> str:
        """Submit a script; give the job's id.

        Raises:
            Full: Slurm takes no more for now.
            NoAnswer: the controller does not answer; the job may have been taken or not.
            Refused: it refused.
        """
        out = self._sbatch(script, "--parsable")
        return out.strip().split(";")[0]  # the name of the cluster may follow

    def test(self, script: str) -> None:
        """Let Slurm check a script without submitting it.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: it would refuse.
        """
        self._sbatch(script, "--test-only")

    def cancel(self, job_ids: Iterable[str], pending_only: bool = False) -> None:
        """Cancel jobs or tasks; those that ended already do not matter.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: it refused.
        """
        ids = list(dict.fromkeys(job_ids))
        for start in range(0, len(ids), 100):
            self._call("scancel", "--quiet", *(["--state=PENDING"] if pending_only else []), *ids[start : start + 100])

    def requeue(self, job_id: str) -> None:
        """Let Slurm end a job or task and start it again.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: it refused.
        """
        self._call("scontrol", "requeue", job_id)

    def max_array(self) -> int:
        """Tasks that one array may have.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: it refused.
        """
        out = self._call("scontrol", "show", "config")
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", out)
        return max(1, min(int(found.group(1)) - 1 if found else 1000, 1000))

    def _sbatch(self, script: str, *options: str) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".sh", prefix="harness-", encoding="utf-8") as file:
            file.write(script)
            file.flush()
            # An option in the environment would win over the same one in the script.
            taken = {f"SBATCH_{name}" for name in DEFAULTS if f"\n#SBATCH --{name.lower()}=" in script}
            return self._call("sbatch", *options, file.name, without=taken)

    def _call(self, *command: str, without: Iterable[str] = ()) -> str:
        self.calls[command[0]] = self.calls.get(command[0], 0) + 1
        environment = {name: value for name, value in outside().items() if name not in without}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=self.seconds, check=False,
                start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NoAnswer(f"{command[0]} did not answer within {self.seconds:.0f} s.") from error
        except OSError as error:
            raise NoCluster(f"{command[0]}: {error.strerror}") from error
        if done.returncode == 0:
            return done.stdout
        said = re.sub(r"\b(sbatch|allocation failure|error): ", "", " ".join((done.stderr or done.stdout).split()))
        if "configuration source" in said:
            raise NoCluster("no configuration: SLURM_CONF is not set, and there is none in its usual places")
        if FULL.search(said):
            raise Full(said)
        if TRANSIENT.search(said):
            raise NoAnswer(said)
        raise Refused(f"Slurm refuses: {said}")


def defaults() -> dict[str, str]:
    """The defaults of sbatch that the user has set in the environment, as far as they choose where jobs go."""
    return {name: os.environ[name] for option in DEFAULTS if (name := f"SBATCH_{option}") in os.environ}


def outside() -> dict[str, str]:
    """The environment without what belongs to a job that this process itself may run in, and what changes answers.

    Other defaults than those of `DEFAULTS` would make sbatch wait for the job, rename it or hide the environment from
    it, and those of squeue and scancel hide jobs.
    """
    prefixes = ("SLURM_", "SRUN_", "SALLOC_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SINFO_")
    kept = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or not name.startswith(prefixes)}
    return kept | defaults()
