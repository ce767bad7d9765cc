"""Batch scripts: submitit's, around commands of our own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

from harness.config.schema import SlurmConfig
from harness.launch.slurm.commands import NoCluster, Refused, defaults
from harness.launch.slurm.resources import coordinator
from harness.launch.slurm.submissions import Jobs, Submission

SIGNAL_SECONDS = 600  # before its time limit a coordinator leaves, and is requeued: time to outwait a controller


def job_script(
    jobs: Jobs,
    submission: Submission,
    python: str | None,
    exclude: str | None,
    nodelist: str | None = None,
    folder: Path | None = None,
) -> str:
    """The batch script of a submission.

    Args:
        jobs, submission: of the study.
        python: see `slurm.python`.
        exclude: nodes to avoid.
        nodelist: the one node to run on, if there is only one.
        folder: where the output goes; by default to the study's.
    """
    prologue = [
        "export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1",
        f"export OMP_NUM_THREADS={submission.threads}",
        'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',  # since 22.05 srun does not take it from the job itself
        _path(submission.code),
    ]
    parameters = {
        **submission.resources,
        "name": submission.name,
        "setup": [*prologue, "set -e", *submission.resources.get("setup", [])],
        "exclude": exclude,
        "nodelist": nodelist,
        "additional_parameters": {"requeue": True, **submission.resources.get("additional_parameters", {})},
    }
    command = " ".join(
        [_python(python), "-P", "-m", "harness.launch.slurm.worker", shlex.quote(str(jobs.study)),
         submission.token]
    )  # fmt: skip
    return script(folder or jobs.logs, parameters, command, len(submission.packs))


def coordinator_script(
    jobs: Jobs,
    name: str,
    code: Path,
    slurm: SlurmConfig,
    arguments: Sequence[str],
    nodelist: str | None,
    exclude: str | None,
) -> str:
    """The batch script of a coordinator.

    Args:
        jobs: of the study.
        name: of the job.
        code: the snapshot that it runs.
        slurm: the profile.
        arguments: of `python -m harness`.
        nodelist, exclude: as for `job_script`.
    """
    parameters = coordinator(slurm)
    seconds = min(SIGNAL_SECONDS, int(parameters["timeout_min"]) * 30)
    parameters |= {
        "name": name,
        "nodelist": nodelist,
        "exclude": exclude,
        "srun_args": None,
        "signal_delay_s": None,
        "setup": [
            _path(str(code.resolve())),
            "export PYTHONUNBUFFERED=1",
            *(f"export {name}={shlex.quote(value)}" for name, value in defaults().items()),  # for the jobs it submits
            *slurm.setup,
        ],
        "additional_parameters": {**slurm.additional_parameters, "requeue": True, "signal": f"B:USR2@{seconds}"},
    }
    # `exec`: the signals for the batch shell then reach the coordinator.
    command = "exec " + " ".join([_python(slurm.python), "-P", "-m", "harness", *map(shlex.quote, arguments)])
    return script(jobs.logs, parameters, command, None)


def _python(given: str | None) -> str:
    """The command that starts Python, as the shell reads it; the path of a program may hold spaces."""
    return given if given and not Path(given).is_file() else shlex.quote(given or sys.executable)


def _path(code: str) -> str:
    """Put the snapshot first; what the user has there stays behind it."""
    return f'export PYTHONPATH={shlex.quote(code)}"${{PYTHONPATH:+:$PYTHONPATH}}"'


class Script(submitit.SlurmExecutor):  # type: ignore[misc] # submitit publishes no types here
    """submitit's batch script around a command of our own: nothing is pickled.

    submitit's own jobs hand over a pickled function and pick up a pickled result, one file each a task, and poll sacct
    for every job; ours read their runs from JSON and leave records.
    """

    def text(self, command: str, tasks: int | None) -> str:
        """The script of an array of `tasks` tasks, None for a single job; its batch shell executes the command."""
        if tasks is not None:
            self.parameters["map_count"] = tasks
        self.parameters["use_srun"] = False
        return str(self._make_submission_file_text(command, ""))


def script(folder: Path, parameters: Mapping[str, Any], command: str, tasks: int | None) -> str:
    """Make a batch script.

    Args:
        folder: where the job's output goes.
        parameters: submitit's names (timeout_min, mem_gb, ...); None values are left out.
        command: a shell command that takes no more quoting.
        tasks: of the array, which run it by srun; None for a single job, which runs it in the batch shell.

    Raises:
        Refused: a parameter that submitit does not know, or no Slurm on this machine.
    """
    try:
        made = Script(Path())
        shared = {"timeout_min": "time", "name": "job_name"}
        given = {shared.get(key, key): value for key, value in parameters.items() if value not in (None, [], {})}
        if "mem_gb" in given:
            given["mem"] = f"{round(float(given.pop('mem_gb')) * 1024)}MB"
        options = {name: value for name, value in given.get("additional_parameters", {}).items() if _is_set(value)}
        arguments = given.pop("srun_args", [])
        logs, number = str(folder).replace("%", "%%"), "%j" if tasks is None else "%A_%a"
        # Slurm would replace what looks like its own signs in the directory's name, submitit as well.
        batch, steps = (
            {kind: f"{logs}/{number}_{task}_log.{end}" for kind, end in (("output", "out"), ("error", "err"))}
            for task in ("0", "%t")
        )
        made._internal_update_parameters(**given | {"additional_parameters": options | batch})
    except RuntimeError as error:
        raise NoCluster("there is no srun") from error
    except ValueError as error:
        raise Refused(f"A Slurm parameter is not known: {error}") from error
    if tasks is not None:
        # srun has no way to write a % that is no sign of its own; without a file its output goes to the batch shell's.
        files = () if "%" in str(folder) else (f"--{kind}={path}" for kind, path in steps.items())
        command = f"{shlex.join(['srun', '--unbuffered', *files, *arguments])} {command}"
    return made.text(command, tasks)


def _is_set(value: Any) -> bool:
    """Whether an option is to stand in the script; submitit would write `--hold=False`."""
    return value is not None and value is not False
