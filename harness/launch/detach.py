"""The coordinator as a Slurm job of its own."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.config import SlurmConfig
from harness.launch.cluster import ALIVE, Cluster, NoAnswer, script
from harness.launch.resources import PASSED
from harness.launch.submissions import Jobs
from harness.record import digest, now, write_json

COORDINATOR = "coordinator.json"
SIGNAL_SECONDS = 600  # before its time limit the coordinator leaves, and is requeued: time to outwait a controller


def detach(study: Path, code: Path, slurm: SlurmConfig, arguments: Sequence[str]) -> tuple[str, bool]:
    """Submit a coordinator.

    Args:
        study: the study's directory.
        code: the snapshot it runs.
        slurm: the profile; `slurm.coordinator` says what differs for this job.
        arguments: of `python -m harness`.

    Returns:
        Its job id, and whether it is new; False: an earlier one still waits or runs.

    Raises:
        NoAnswer: Slurm does not answer.
        Refused: Slurm refuses the job.
    """
    study = study.resolve()
    cluster = Cluster(slurm.poll_s)
    # Studies of one name in two places are two.
    name = f"harness-coordinator-{study.name}-{digest(str(study))[:6]}"
    for key, state in cluster.queue().items():
        if state.name == name and state.state in ALIVE:
            if not (study / COORDINATOR).exists():
                write_json(study / COORDINATOR, {"job_id": key, "submitted": now(), "command": list(arguments)})
            return key, False
    jobs = Jobs(study)
    jobs.make()
    text = coordinator_script(jobs, name, code, slurm, arguments)
    job_id = cluster.submit(text, slurm.environment)
    write_json(study / COORDINATOR, {"job_id": job_id, "submitted": now(), "command": list(arguments)})
    return job_id, True


def coordinator_script(jobs: Jobs, name: str, code: Path, slurm: SlurmConfig, arguments: Sequence[str]) -> str:
    """The batch script of a coordinator."""
    parameters: dict[str, Any] = {key: getattr(slurm, key) for key in PASSED}
    parameters |= dict(slurm.coordinator)
    seconds = min(SIGNAL_SECONDS, int(parameters["timeout_min"]) * 30)
    more = {"requeue": True, "signal": f"B:USR2@{seconds}"}
    parameters |= {
        "name": name,
        "gpus_per_node": parameters.get("gpus_per_node") or None,
        "gres": dict(slurm.coordinator).get("gres"),
        "srun_args": None,
        "signal_delay_s": None,
        "setup": [f"export PYTHONPATH={shlex.quote(str(code.resolve()))} PYTHONUNBUFFERED=1", *slurm.setup],
        "use_srun": False,
        "additional_parameters": {**more, **slurm.additional_parameters, **more},
    }
    # `exec`: the signals for the batch shell then reach the coordinator.
    command = "exec " + " ".join(
        [slurm.python or shlex.quote(sys.executable), "-P", "-m", "harness", *map(shlex.quote, arguments)]
    )
    return script(jobs.logs, parameters, command, None)


def cancel_coordinator(study: Path, cluster: Cluster) -> bool:
    """Cancel a detached coordinator; whether there was one on record."""
    with suppress(OSError, ValueError, KeyError, NoAnswer):
        content = json.loads((study / COORDINATOR).read_text(encoding="utf-8"))
        cluster.cancel([str(content["job_id"])])
        return True
    return False
