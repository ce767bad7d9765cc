"""Slurm's commands: sbatch, squeue, sacct, scancel, scontrol. Only this module runs them and parses their output."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from harness.errors import HarnessError
from harness.formatting.examples import some

# Errors that say that the controller or network did not answer, or that a limit is temporary: wait and try again.
TRANSIENT = re.compile(
    r"unable to contact slurm controller|socket timed out|connection (refused|timed out|reset)|communication|"
    r"zero bytes were transmitted|resource temporarily unavailable|transport endpoint|controller.*(not|respond)|"
    r"slurm_load|slurm_persist|protocol authentication|munge|temporarily|in standby|timed out",
    re.IGNORECASE,
)
# sbatch options that users may set by SBATCH_* variables if the profile does not set them.
DEFAULTS = ("ACCOUNT", "PARTITION", "QOS", "CONSTRAINT", "RESERVATION")
FULL = re.compile(
    r"submit ?job ?limit|MaxSubmitJob|job submit limit|maximum (number of )?jobs|MaxJobCount", re.IGNORECASE
)


# What a controller says for some seconds after its start of every job, until its nodes have registered.
UNREGISTERED = re.compile(r"requested node configuration is not available", re.IGNORECASE)
STARTING_S, REGISTERED_S = 60.0, 30.0  # age up to which that may be so; how long a check waits for it to pass


class NoAnswer(Exception):
    """Slurm did not answer. The command may or may not have been executed."""


class Starting(NoAnswer):
    """The controller has just started: what it refuses it may accept once it knows its nodes."""


class Full(NoAnswer):
    """Slurm accepts no more jobs, or none of this size, for now. These jobs were not accepted."""


class Refused(HarnessError):
    """Slurm refused a command; the message is Slurm's own."""


class NoCluster(Refused):
    """No Slurm cluster is reachable from this machine, or from this shell."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"No Slurm cluster is found from here ({said}). Run the command on a login node of the cluster, or without "
            "slurm=<profile> on this machine. For slurm=devcluster: `slurm/devcluster/cluster start`, then "
            '`eval "$(slurm/devcluster/cluster env)"` in this shell.'
        )


@dataclass(frozen=True)
class JobState:
    """State of an array task, as reported by Slurm.

    Attributes:
        name: name of the job.
        state: as Slurm writes it; see `SlurmState`.
        reason: why it is pending, or how it ended.
        node: node that it runs or ran on, or several in Slurm's form, `n[1-2]`; empty while it is pending.
    """

    name: str
    state: str
    reason: str
    node: str


@dataclass
class SlurmCommands:
    """The cluster as seen by this user.

    Attributes:
        interval: minimum number of seconds between two queries (squeue or sacct).
        seconds: timeout of a command; a slower one counts as no answer from the controller.
        calls: number of calls of each command.
    """

    interval: float
    seconds: float = 20.0
    calls: dict[str, int] = field(default_factory=dict)
    _asked: float = -1e9
    _nodes: dict[str, frozenset[str]] = field(default_factory=dict)  # by node list; "" all nodes of the cluster

    def due(self) -> float:
        """Return the seconds until the next query is allowed; 0 if it is allowed now."""
        return max(0.0, self._asked + self.interval - time.monotonic())

    def queue(self) -> dict[str, JobState]:
        """Return all jobs of this user that the queue lists, each array task separately, by id (`123_4`).

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
        """Return what accounting knows about jobs that left the queue; {} on a cluster without accounting."""
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
                # `CANCELLED by 0` includes the user id.
                found[parts[0]] = JobState(parts[4], parts[1].split()[0], f"exit code {parts[2]}", parts[3])
        return found

    def hostnames(self, nodelist: str) -> frozenset[str]:
        """Return the nodes of a list in Slurm's form, `n[1-2,4]`. Does not ask the controller.

        Raises:
            NoAnswer: scontrol does not answer.
            Refused: it cannot parse the list.
        """
        if nodelist not in self._nodes:
            self._nodes[nodelist] = frozenset(self._call("scontrol", "show", "hostnames", nodelist).split())
        return self._nodes[nodelist]

    def only(self, nodelist: str | None, exclude: str | None, count: int = 1) -> tuple[str | None, str | None]:
        """Return the (nodelist, exclude) options of sbatch that let each job run on `count` of several nodes.

        sbatch's own `--nodelist` requests all listed nodes for each job. So several nodes are expressed by excluding
        all others.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: Slurm cannot parse the list, it names fewer nodes than a job takes, or the cluster has no such
                node.
        """
        if not nodelist:
            return None, exclude
        if len(wanted := self.hostnames(nodelist)) < count:
            raise Refused(
                f"slurm.nodelist={nodelist} names {len(wanted)} of the slurm.nodes_per_run={count} nodes of a job, and "
                "Slurm would add any other: name as many or more, or leave it out"
            )
        if len(wanted) == 1:
            return nodelist, exclude
        if "" not in self._nodes:
            self._nodes[""] = frozenset(self._call("sinfo", "--noheader", "--Node", "--all", "--format=%N").split())
        if unknown := sorted(wanted - self._nodes[""]):
            raise Refused(f"slurm.nodelist={nodelist}: the cluster has no node {some(unknown)}")
        return None, ",".join([*([exclude] if exclude else []), *sorted(self._nodes[""] - wanted)]) or None

    def submit(self, script: str) -> str:
        """Submit a script; return the job's id.

        Raises:
            Full: Slurm accepts no more jobs for now.
            NoAnswer: the controller does not answer; the job may or may not have been accepted.
            Refused: Slurm refused the job.
        """
        out = self._sbatch(script, "--parsable")
        return out.strip().split(";")[0]  # the name of the cluster may follow

    def test(self, script: str) -> None:
        """Let Slurm check a script without submitting it.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: Slurm would refuse the job.
        """
        end = time.monotonic() + REGISTERED_S
        while True:
            try:
                self._sbatch(script, "--test-only")
            except Starting as error:
                if time.monotonic() > end:
                    raise Refused(f"Slurm refuses: {error}") from error
                time.sleep(1)
            else:
                return

    def cancel(self, job_ids: Iterable[str], pending_only: bool = False) -> None:
        """Cancel jobs or tasks; ones that have already ended are ignored.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: Slurm refused.
        """
        ids = list(dict.fromkeys(job_ids))
        for start in range(0, len(ids), 100):
            self._call("scancel", "--quiet", *(["--state=PENDING"] if pending_only else []), *ids[start : start + 100])

    def requeue(self, job_id: str) -> None:
        """Let Slurm end a job or task and start it again.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: Slurm refused.
        """
        self._call("scontrol", "requeue", job_id)

    def max_array(self) -> int:
        """Return the largest allowed number of tasks in an array.

        Raises:
            NoAnswer: the controller does not answer.
            Refused: Slurm refused.
        """
        out = self._call("scontrol", "show", "config")
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", out)
        return max(1, min(int(found.group(1)) - 1 if found else 1000, 1000))

    def _sbatch(self, script: str, *options: str) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".sh", prefix="harness-", encoding="utf-8") as file:
            file.write(script)
            file.flush()
            # Environment variables override options in the script, so those that the script sets are removed.
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
        if UNREGISTERED.search(said) and self._starting():
            raise Starting(said)
        raise Refused(f"Slurm refuses: {said}")

    def _starting(self) -> bool:
        """Return whether the controller was started within the last minute."""
        found = re.search(r"BOOT_TIME\s*=\s*(\S+)", self._call("scontrol", "show", "config"))
        try:
            return found is not None and abs(time.time() - datetime.fromisoformat(found[1]).timestamp()) < STARTING_S
        except ValueError:  # a site's own form of times
            return False


def defaults() -> dict[str, str]:
    """Return the sbatch defaults in the user's environment that choose where jobs run."""
    return {name: os.environ[name] for option in DEFAULTS if (name := f"SBATCH_{option}") in os.environ}


def outside() -> dict[str, str]:
    """Return the environment without variables of an enclosing Slurm job, and without those that change command output.

    SBATCH_* variables outside `DEFAULTS` could make sbatch wait for the job, rename it or hide the environment from it;
    those of squeue and scancel hide jobs.
    """
    prefixes = ("SLURM_", "SRUN_", "SALLOC_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SINFO_")
    kept = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or not name.startswith(prefixes)}
    return kept | defaults()
