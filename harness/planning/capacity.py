"""The capacity of a study: how many runs execute at once, on which devices, with how much memory, at which price."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from harness.config.schema import Config
from harness.design.device_checks import trains
from harness.design.prepared_cell import PreparedCell
from harness.launch.devices import divide, visible_gpus
from harness.launch.slurm.resources import asks_for_gpus, merge
from harness.records.pricing import dollars
from harness.system.machine import device_name
from harness.system.resources import usable_cores, usable_memory, usable_threads


@dataclass(frozen=True)
class ComputeTarget:
    """Where runs compute.

    Attributes:
        device: cpu | cuda | mps.
        device_name: as in a record's provenance; None if unknown, for Slurm jobs.
        threads: CPU threads per run.
    """

    device: str
    device_name: str | None
    threads: int


def workers(config: Config) -> tuple[int, int]:
    """Return the number of runs that execute at once, and the CPU threads of each."""
    if config.launch.kind == "inline":
        return 1, config.launch.threads or usable_threads(usable_cores())
    if config.launch.kind == "slurm":
        return config.slurm.max_queued, config.launch.threads or config.slurm.cpus_per_task
    return divide(config.launch, len(gpus(config)), usable_cores())


def processes_per_gpu(config: Config, count: int) -> int:
    """Return how many processes of `count` concurrent runs share a GPU, or the machine if it has none, or a node."""
    each = config.launch.devices_per_run
    if config.launch.kind == "slurm":
        return each // config.slurm.nodes_per_run
    return math.ceil(count * each / max(1, len(gpus(config))))


def gpu_share(config: Config, count: int) -> float:
    """Return the average share of a GPU that each of `count` concurrent runs holds; 1 for Slurm jobs."""
    return 1.0 if config.launch.kind == "slurm" else min(1.0, max(1, len(gpus(config))) / count)


def gpus(config: Config) -> tuple[str, ...]:
    """Return the GPUs of this machine that the study may use."""
    return visible_gpus() if config.device in ("auto", "cuda") else ()


def place(base: Mapping[str, Any], config: Config) -> ComputeTarget:
    """Return where a cell's runs compute, as far as is known without importing torch."""
    if config.launch.kind == "slurm":
        resources = merge(config.slurm, base)
        gpu = bool(resources.get("gpus_per_node") or asks_for_gpus(resources.get("gres"))) and config.device != "cpu"
        return ComputeTarget("cuda" if gpu else "cpu", None, config.launch.threads or int(resources["cpus_per_task"]))
    device = config.device
    if device == "auto":
        device = "cuda" if gpus(config) else "mps" if sys.platform == "darwin" else "cpu"
    return ComputeTarget(device, device_name("cpu") if device == "cpu" else None, workers(config)[1])


def memory_limit(config: Config, ready: Sequence[PreparedCell]) -> float | None:
    """Return the MiB of the machine that workers share, or of one Slurm job or GPU; None if unknown."""
    if config.launch.kind == "slurm":
        limits = [merge(config.slurm, each.base)["mem_gb"] for each in ready]
        return None if None in limits else 1024 * min(limits)
    if config.hardware.memory_gb is not None:
        return 1024 * config.hardware.memory_gb
    return gpu_memory() if gpus(config) else machine_memory()


def gpu_memory() -> float | None:
    """Return the MiB of the smallest GPU of this machine; None if `nvidia-smi` does not say."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return min((float(line) for line in done.stdout.split()), default=None)
    return None


def machine_memory() -> float | None:
    """Return the MiB of this machine, or of the process's control group if that has less; None if unknown."""
    memory = usable_memory()
    return None if memory is None else memory / 2**20


def slot_rate(config: Config, base: Mapping[str, Any], held: float) -> float | None:
    """Return the dollars per second of one run of a cell; None if no price is known for its device.

    Args:
        config: the study's configuration.
        base: the cell's resolved configuration.
        held: the share of a GPU that the run holds, see `harness.planning.capacity.gpu_share`.
    """
    where, each = place(base, config), config.launch.devices_per_run if trains(base) else 1
    gpu = where.device in ("cuda", "mps")
    second = {"accelerator_seconds": held * each if gpu else None, "core_seconds": float(where.threads * each)}
    return dollars(second, described(config))


def described(config: Config) -> dict[str, Any] | None:
    """Return the `hardware` section as a study stores it, with the cores that the price buys; None without a price.

    Slurm jobs run on other machines than this one, so for them `cores` stays as configured.
    """
    hardware = config.hardware
    if hardware.dollars_per_hour is None:
        return None
    here = None if config.launch.kind == "slurm" else usable_cores()
    return asdict(hardware) | {"cores": hardware.cores or (None if hardware.gpu_name else here)}
