"""Batch scripts: submitit's, around commands of our own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

from harness.config import SlurmConfig
from harness.launch.cluster import NoCluster, Refused
from harness.launch.resources import PASSED
from harness.launch.submissions import Jobs, Submission

SIGNAL_SECONDS = 600  # before its time limit a coordinator leaves, and is requeued: time to outwait a controller


def job_script(
    jobs: Jobs, submission: Submission, python: str | None, exclude: str | None, folder: Path | None = None
) -> str:
    """The batch script of a submission; its output goes to `folder`, by default the study's."""
    prologue = [
        "export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1",
        f"export OMP_NUM_THREADS={submission.threads}",
        _path(submission.code),
    ]
    parameters = {
        **submission.resources,
        "name": submission.name,
        "setup": [*prologue, "set -e", *submission.resources.get("setup", [])],
        "exclude": exclude,
        "additional_parameters": {"requeue": True, **submission.resources.get("additional_parameters", {})},
    }
    command = " ".join(
        [python or shlex.quote(sys.executable), "-P", "-m", "harness.launch.job", shlex.quote(str(jobs.study)),
         submission.token]
    )  # fmt: skip
    return script(folder or jobs.logs, parameters, command, len(submission.packs))


def coordinator_script(jobs: Jobs, name: str, code: Path, slurm: SlurmConfig, arguments: Sequence[str]) -> str:
    """The batch script of a coordinator."""
    parameters: dict[str, Any] = {key: getattr(slurm, key) for key in PASSED}
    parameters |= slurm.coordinator
    seconds = min(SIGNAL_SECONDS, int(parameters["timeout_min"]) * 30)
    parameters |= {
        "name": name,
        "gpus_per_node": parameters.get("gpus_per_node") or None,
        "gres": slurm.coordinator.get("gres"),
        "srun_args": None,
        "signal_delay_s": None,
        "setup": [_path(str(code.resolve())), "export PYTHONUNBUFFERED=1", *slurm.setup],
        "use_srun": False,
        "additional_parameters": {**slurm.additional_parameters, "requeue": True, "signal": f"B:USR2@{seconds}"},
    }
    # `exec`: the signals for the batch shell then reach the coordinator.
    command = "exec " + " ".join(
        [slurm.python or shlex.quote(sys.executable), "-P", "-m", "harness", *map(shlex.quote, arguments)]
    )
    return script(jobs.logs, parameters, command, None)


def _path(code: str) -> str:
    """Put the snapshot first; what the user has there stays behind it."""
    return f'export PYTHONPATH={shlex.quote(code)}"${{PYTHONPATH:+:$PYTHONPATH}}"'


class Script(submitit.SlurmExecutor):  # type: ignore[misc] # submitit publishes no types here
    """submitit's batch script around a command of our own: nothing is pickled.

    submitit's own jobs hand over a pickled function and pick up a pickled result, one file each a task, and poll sacct
    for every job; ours read their runs from JSON and leave records.
    """

    def text(self, command: str, tasks: int | None) -> str:
        """The script of an array of `tasks` tasks; None for a single job."""
        if tasks is not None:
            self.parameters["map_count"] = tasks
        return str(self._make_submission_file_text(command, ""))


def script(folder: Path, parameters: Mapping[str, Any], command: str, tasks: int | None) -> str:
    """Make a batch script.

    Args:
        folder: where the job's output goes.
        parameters: submitit's names (timeout_min, mem_gb, ...); None values are left out.
        command: a shell command that takes no more quoting.
        tasks: of the array; None for a single job.

    Raises:
        Refused: a parameter that submitit does not know, or no Slurm on this machine.
    """
    try:
        made = Script(folder)
        shared = {"timeout_min": "time", "name": "job_name"}
        given = {shared.get(key, key): value for key, value in parameters.items() if value not in (None, [], {})}
        if "mem_gb" in given:
            given["mem"] = f"{round(float(given.pop('mem_gb')) * 1024)}MB"
        made._internal_update_parameters(**given)
    except RuntimeError as error:
        raise NoCluster("there is no srun") from error
    except ValueError as error:
        raise Refused(f"A Slurm parameter is not known: {error}") from error
    return made.text(command, tasks)
