"""What the jobs of a cell get: the profile's, raised to what its model and method declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config import SlurmConfig
from harness.errors import Problems

# Handed to submitit's script, nearly all under these names (`harness.launch.scripts`).
PASSED = (
    "partition", "account", "qos", "constraint", "exclude", "nodelist", "timeout_min", "gpus_per_node", "gres",
    "cpus_per_task", "mem_gb", "signal_delay_s", "array_parallelism", "setup", "srun_args", "additional_parameters",
)  # fmt: skip
RAISED = ("timeout_min", "gpus_per_node", "cpus_per_task", "mem_gb")  # the largest counts
NAMED = ("partition", "qos", "constraint", "gres")  # the method's wins over the model's, and that over the profile's


def merge(slurm: SlurmConfig, config: Mapping[str, Any], problems: Problems | None = None) -> dict[str, Any]:
    """The sbatch parameters of a cell's jobs, submitit's names.

    Args:
        slurm: the profile.
        config: the cell's resolved configuration; its `model.resources` and `method.resources` count.
        problems: takes what is declared but cannot be.
    """
    merged = {name: getattr(slurm, name) for name in PASSED}
    for section in ("model", "method"):
        for name, value in (config[section].get("resources") or {}).items():
            if name in RAISED and isinstance(value, int | float):
                if merged[name] is not None:  # null leaves it to the cluster
                    merged[name] = max(merged[name], value)
            elif name in NAMED:
                merged[name] = value
            elif problems is not None:
                problems.add(
                    f"{section}.resources.{name}={value}: a cell may raise {', '.join(RAISED)} (numbers) and name "
                    f"{', '.join(NAMED)}."
                )
    if not merged["gpus_per_node"]:
        merged["gpus_per_node"] = None
    return {name: list(value) if name in ("setup", "srun_args") else value for name, value in merged.items()}


def describe(resources: Mapping[str, Any]) -> str:
    """What a plan shows: `partition main, 2 cpus_per_task, ...`."""
    shown = (
        "partition",
        "account",
        "qos",
        "constraint",
        "gres",
        "gpus_per_node",
        "cpus_per_task",
        "mem_gb",
        "timeout_min",
    )
    return ", ".join(f"{name}={resources[name]}" for name in shown if resources.get(name) is not None)
