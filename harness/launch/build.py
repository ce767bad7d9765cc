"""The launcher that a configuration asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from harness.capacity import usable_cores, usable_threads
from harness.config import LaunchConfig
from harness.launch.base import Launcher
from harness.launch.inline import InlineLauncher
from harness.launch.local import LocalLauncher, start_server


def make_launcher(config: LaunchConfig, device: str, work: float, interrupted: Callable[[], bool]) -> Launcher:
    """Make the launcher.

    Args:
        config: the `launch` section.
        device: auto | cpu | cuda | mps: the GPUs are counted unless the runs stay on the CPU.
        work: the most jobs that could ever be under way at once, infinite where that is not known; no more workers than
            that are started.
        interrupted: see `InlineLauncher`.
    """
    if config.kind == "inline":
        return InlineLauncher(config.threads, interrupted)
    gpus = visible_gpus() if device in ("auto", "cuda") else ()
    workers, threads = divide(config, len(gpus), usable_cores())
    workers = max(1, int(min(workers, work)))
    return LocalLauncher(workers, threads, config.timeout_min, gpus)


def begin(launch: LaunchConfig, device: str) -> None:
    """Begin, beside the caller, what takes longest about a launcher that will be made: the imports of local workers.

    Args:
        launch, device: as for `make_launcher`.
    """
    if launch.kind == "local":
        gpus = visible_gpus() if device in ("auto", "cuda") else ()
        start_server(divide(launch, len(gpus), usable_cores())[1])


def divide(config: LaunchConfig, gpus: int, cores: int) -> tuple[int, int]:
    """Divide a machine: (workers, CPU threads of each).

    One worker a GPU (times `workers_per_gpu`). Without a GPU one worker a core up to four, then one for every two
    cores: a small encoder gains little from a second thread, but each worker needs memory of its own.
    """
    on_cpu = max(min(cores, 4), cores // 2)
    workers = config.workers or (gpus * config.workers_per_gpu if gpus else on_cpu)
    threads = config.threads or usable_threads(cores // workers)
    return workers, threads


def visible_gpus() -> tuple[str, ...]:
    """The CUDA devices this process may use, without loading CUDA into it."""
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
