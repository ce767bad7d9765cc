"""Division of this machine's CPU cores and GPUs among workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from harness.config.schema import LaunchConfig
from harness.errors import HarnessError
from harness.system.resources import usable_cores, usable_threads


def divide(config: LaunchConfig, gpus: int, cores: int) -> tuple[int, int]:
    """Divide a machine: return (number of workers, CPU threads of each).

    With GPUs: one worker per GPU, times `workers_per_gpu`. Without: one worker per core up to four, then one per two
    cores, because a small encoder gains little from a second thread, but each worker needs memory of its own. Where a
    run takes several devices, there are as many times fewer workers, and threads are those of each of its processes.
    """
    on_cpu = max(min(cores, 4), cores // 2)
    each = config.devices_per_run
    workers = config.workers or max(1, (gpus * config.workers_per_gpu if gpus else on_cpu) // each)
    threads = config.threads or usable_threads(max(1, cores // (workers * each)))
    return workers, threads


def check_devices(config: LaunchConfig, device: str) -> None:
    """Check that runs do not take more devices than this machine has.

    Args:
        config: the `launch` section.
        device: auto | cpu | cuda | mps.

    Raises:
        HarnessError: they do.
    """
    each, workers = config.devices_per_run, config.workers or 1
    if each == 1 or config.kind != "local":
        return
    if device == "mps" or (device == "auto" and sys.platform == "darwin"):
        raise HarnessError(
            f"launch.devices_per_run={each} divides a run among devices, and this machine has one GPU (mps): set "
            "device=cpu, or leave launch.devices_per_run at 1."
        )
    gpus = len(visible_gpus()) if device in ("auto", "cuda") else 0
    there, what = (gpus, "GPU") if gpus else (usable_cores(), "core")
    shown = f"launch.devices_per_run={each}" + (f" with launch.workers={workers}" if workers > 1 else "")
    if each * workers > there:
        raise HarnessError(
            f"{shown} takes {each * workers} {what}s, and this process may use {there}: set launch.devices_per_run to "
            f"{max(1, there // workers)} or less, or use a cluster (slurm=<profile>)."
        )


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
