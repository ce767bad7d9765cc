"""Division of this machine's CPU cores and GPUs among workers."""

from __future__ import annotations

import os
import shutil
import subprocess

from harness.config.schema import LaunchConfig
from harness.system.resources import usable_threads


def divide(config: LaunchConfig, gpus: int, cores: int) -> tuple[int, int]:
    """Divide a machine: return (number of workers, CPU threads of each).

    With GPUs: one worker per GPU, times `workers_per_gpu`. Without: one worker per core up to four, then one per two
    cores, because a small encoder gains little from a second thread, but each worker needs memory of its own.
    """
    on_cpu = max(min(cores, 4), cores // 2)
    workers = config.workers or (gpus * config.workers_per_gpu if gpus else on_cpu)
    threads = config.threads or usable_threads(cores // workers)
    return workers, threads


def visible_gpus() -> tuple[str, ...]:
    """Return the CUDA devices that this process may use, without loading CUDA."""
    if (listed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(part.strip() for part in listed.split(",") if part.strip() not in ("", "-1"))
    if (program := shutil.which("nvidia-smi")) is None:
        return ()
    try:
        found = subprocess.run(
            [program, "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(found.stdout.split())
