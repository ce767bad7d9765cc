"""Construction of the launcher that a configuration selects."""

from __future__ import annotations

from collections.abc import Callable

from harness.config.schema import LaunchConfig
from harness.launch.base import Launcher
from harness.launch.devices import divide, visible_gpus
from harness.launch.inline import InlineLauncher
from harness.launch.local.pool import LocalLauncher, start_server
from harness.system.resources import usable_cores


def make_launcher(
    config: LaunchConfig,
    device: str,
    work: float,
    interrupted: Callable[[], bool],
    module: str = "harness.runs.execute",
) -> Launcher:
    """Make the launcher.

    Args:
        config: the `launch` section.
        device: auto | cpu | cuda | mps. GPUs are counted only for auto and cuda.
        work: the most jobs that could ever run at once; infinite if unknown. It limits the number of workers.
        interrupted: see `InlineLauncher`.
        module: see `LocalLauncher`.
    """
    if config.kind == "inline":
        return InlineLauncher(config.threads, interrupted)
    gpus = visible_gpus() if device in ("auto", "cuda") else ()
    workers, threads = divide(config, len(gpus), usable_cores())
    workers = max(1, int(min(workers, work)))
    return LocalLauncher(workers, threads, config.timeout_min, gpus, module, config.devices_per_run)


def begin(launch: LaunchConfig, device: str) -> None:
    """Start the slowest part of the later `make_launcher` in the background: the imports of local workers.

    Args:
        launch, device: as for `make_launcher`.
    """
    if launch.kind == "local":
        gpus = visible_gpus() if device in ("auto", "cuda") else ()
        start_server(divide(launch, len(gpus), usable_cores())[1])
