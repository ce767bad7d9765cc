"""Submission of the coordinator as a Slurm job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.schema import SlurmConfig
from harness.launch.slurm.batch_scripts import coordinator_script
from harness.launch.slurm.commands import SlurmCommands
from harness.launch.slurm.job_states import ALIVE
from harness.launch.slurm.resources import coordinator
from harness.launch.slurm.submissions import Jobs
from harness.records.files import now, write_json
from harness.records.signature import digest
from harness.records.study_files import StudyPaths


def detach(study: Path, code: Path, slurm: SlurmConfig, arguments: Sequence[str]) -> tuple[str, bool]:
    """Submit a coordinator.

    Args:
        study: the study's directory.
        code: code snapshot that it runs.
        slurm: the profile; `slurm.coordinator` overrides it for this job.
        arguments: arguments of `python -m harness`.

    Returns:
        Its job id, and whether the job is new; False: an earlier one is still pending or running.

    Raises:
        NoAnswer: Slurm does not answer.
        Refused: Slurm refuses the job.
    """
    study = study.resolve()
    note = StudyPaths(study).coordinator
    cluster = SlurmCommands(slurm.poll_s)
    # Studies with the same name in two directories are different studies.
    name = f"harness-coordinator-{study.name}-{digest(str(study))[:6]}"
    for key, state in cluster.queue().items():
        if state.name == name and state.state in ALIVE:
            if not note.exists():
                write_json(note, {"job_id": key, "submitted": now(), "command": list(arguments)})
            return key, False
    jobs = Jobs(study)
    jobs.make()
    asked = coordinator(slurm)
    nodelist, exclude = cluster.only(asked["nodelist"], asked["exclude"])
    text = coordinator_script(jobs, name, code, slurm, arguments, nodelist, exclude)
    job_id = cluster.submit(text)
    write_json(note, {"job_id": job_id, "submitted": now(), "command": list(arguments)})
    return job_id, True
