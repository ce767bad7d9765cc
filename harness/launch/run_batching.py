"""Which runs can share passes through one frozen backbone, and how many do at once. Imports no torch.

The coordinator forms packs of runs by this. Which of them share passes is decided where they compute
(harness/training/fused).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.schema import LOSSES, LaunchConfig
from harness.models.architectures import FIRST_POSITION
from harness.records.ranking import searched_costs
from harness.records.signature import digest

AUTO = 8  # runs at most where `auto` decides: beyond, a pass gains little and a pack waits long for its slowest member
OF_A_PROCESS = ("peak_memory_mb", "energy_joules")  # costs that a run has only if it had a process alone
# Costs that a run has whatever else its process does; others are measured, and a study may go by those.
COUNTED = ("params_trainable", "saved_bytes")


def max_fused(launch: LaunchConfig) -> int:
    """How many runs may share passes."""
    return {"auto": AUTO, "off": 1}.get(str(launch.pack)) or int(launch.pack)


def runs_per_job(launch: LaunchConfig) -> int:
    """How many runs share a Slurm job."""
    return max(launch.runs_per_job, int(launch.pack) if launch.pack.isdigit() else 1)


def batch_key(config: Mapping[str, Any], architecture: str | None, phase: str = "tune") -> str | None:
    """What a run has in common with those that it can share passes with; None if it computes alone.

    Args:
        config: the resolved configuration.
        architecture: of its model, see `ResolvedModel.architecture`.
        phase: of the run; see `RunSpec`.
    """
    method, model, train, tune = (config.get(section) or {} for section in ("method", "model", "train", "tune"))
    if (
        not (method.get("about") or {}).get("packs")
        or architecture not in FIRST_POSITION
        or any(train.get(key) for key in LOSSES)  # which need passes of their own
        or train.get("accumulate", 1) > 1
        or model.get("pooling") == "model"
        or model.get("quantise")
        or any(cost not in COUNTED for cost in searched_costs(tune))
        or (phase != "tune" and (config.get("report") or {}).get("cost") in OF_A_PROCESS)  # the report goes by it
    ):
        return None
    return digest([config["task"], model, config.get("augment"), train.get("precision"), config.get("device")])
