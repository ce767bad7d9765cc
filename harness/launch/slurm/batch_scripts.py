"""Batch scripts: submitit's template with our own commands."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

from harness.config.schema import SlurmConfig
from harness.launch.slurm.commands import NoCluster, Refused, defaults
from harness.launch.slurm.resources import coordinator, for_coordinator
from harness.launch.slurm.submissions import Jobs, Submission

SIGNAL_SECONDS = 600  # a coordinator exits this long before its time limit and is requeued; leaves time for an outage


def job_script(
    jobs: Jobs,
    submission: Submission,
    python: str | None,
    exclude: str | None,
    nodelist: str | None = None,
    folder: Path | None = None,
) -> str:
    """Return the batch script of a submission.

    Args:
        jobs, submission: the study's jobs, and the submission.
        python: see `slurm.python`.
        exclude: nodes to avoid.
        nodelist: the node to run on, if there is only one.
        folder: directory of the output; None: the study's.
    """
    prologue = [
        "export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1",
        f"export OMP_NUM_THREADS={submission.threads}",
        'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',  # since Slurm 22.05 srun does not inherit this from the job
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
    if submission.resources.get("ntasks_per_node"):  # processes that train together: one that dies ends all
        parameters["srun_args"] = ["--kill-on-bad-exit=1", *(submission.resources.get("srun_args") or [])]
    command = " ".join(
        [_python(python), "-P", "-m", "harness.launch.slurm.worker", shlex.quote(str(jobs.study)),
         submission.token]
    )  # fmt: skip
    return script(folder or jobs.logs, parameters, command, len(submission.batches))


def coordinator_script(
    jobs: Jobs,
    name: str,
    code: Path,
    slurm: SlurmConfig,
    arguments: Sequence[str],
    nodelist: str | None,
    exclude: str | None,
) -> str:
    """Return the batch script of a coordinator.

    Args:
        jobs: the study's jobs.
        name: name of the Slurm job.
        code: code snapshot that it runs.
        slurm: the profile.
        arguments: arguments of `python -m harness`.
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
        "additional_parameters": {
            **for_coordinator(slurm.additional_parameters, parameters["mem_gb"] is not None),
            "requeue": True,
            "signal": f"B:USR2@{seconds}",
        },
    }
    # With `exec`, signals for the batch shell reach the coordinator.
    command = "exec " + " ".join([_python(slurm.python), "-P", "-m", "harness", *map(shlex.quote, arguments)])
    return script(jobs.logs, parameters, command, None)


def _python(given: str | None) -> str:
    """Return the shell command that starts Python; quoted if it is a path, which may contain spaces."""
    return given if given and not Path(given).is_file() else shlex.quote(given or sys.executable)


def _path(code: str) -> str:
    """Put the snapshot first on PYTHONPATH, before the user's entries."""
    return f'export PYTHONPATH={shlex.quote(code)}"${{PYTHONPATH:+:$PYTHONPATH}}"'


class Script(submitit.SlurmExecutor):  # type: ignore[misc] # submitit publishes no types here
    """submitit's batch script with our own command; nothing is pickled.

    submitit's own jobs exchange a pickled function and a pickled result, one file each per task, and poll sacct for
    every job. Our jobs read their runs from JSON and write records.
    """

    def text(self, command: str, tasks: int | None) -> str:
        """Return the script of an array of `tasks` tasks (None: a single job); its batch shell runs the command."""
        if tasks is not None:
            self.parameters["map_count"] = tasks
        self.parameters["use_srun"] = False
        return str(self._make_submission_file_text(command, ""))


def script(folder: Path, parameters: Mapping[str, Any], command: str, tasks: int | None) -> str:
    """Make a batch script.

    Args:
        folder: directory of the job's output.
        parameters: by submitit's names (timeout_min, mem_gb, ...); None values are left out.
        command: a shell command, already quoted.
        tasks: number of tasks of an array, which run the command with srun; None: a single job, which runs it in the
            batch shell.

    Raises:
        Refused: submitit does not know a parameter, or this machine has no Slurm.
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
        # Slurm and submitit would both expand % patterns in the directory's name.
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
        # srun cannot escape a literal %; without --output its output goes to the batch shell's file.
        files = () if "%" in str(folder) else (f"--{kind}={path}" for kind, path in steps.items())
        command = f"{shlex.join(['srun', '--unbuffered', *files, *arguments])} {command}"
    return made.text(command, tasks)


def _is_set(value: Any) -> bool:
    """Return whether an option is written to the script; submitit would write `--hold=False`."""
    return value is not None and value is not False
