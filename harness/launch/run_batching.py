"""Rules for which runs can be fused on one frozen backbone, and how many at once. Does not import torch.

The coordinator forms run batches with these rules. The worker decides which runs of a batch really share passes
(harness/training/fused).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.api.cost import COSTS
from harness.api.family import family_of_kind
from harness.config.kinds import kind_of
from harness.config.schema import LOSSES, LaunchConfig
from harness.models.architectures import FIRST_POSITION
from harness.records.ranking import searched_costs
from harness.records.signature import digest
from harness.records.states import Phase

AUTO = 8  # maximum for `auto`: a larger shared pass gains little, and a batch waits long for its slowest run


def max_fused(launch: LaunchConfig) -> int:
    """Return the maximum number of fused runs; runs that take several devices are not fused."""
    if launch.devices_per_run > 1:
        return 1
    return {"auto": AUTO, "off": 1}.get(str(launch.fuse)) or int(launch.fuse)


def runs_per_job(launch: LaunchConfig) -> int:
    """Return the number of runs in a Slurm job."""
    return max(launch.runs_per_job, int(launch.fuse) if launch.fuse.isdigit() else 1)


def batch_key(config: Mapping[str, Any], architecture: str | None, phase: str = Phase.TUNE) -> str | None:
    """Return the key that a run shares with all runs it can be fused with; None if it cannot be fused.

    Args:
        config: the resolved configuration.
        architecture: architecture of its model, see `ResolvedModel.architecture`.
        phase: phase of the run, see `RunSpec`.
    """
    method, model, train, tune = (config.get(section) or {} for section in ("method", "model", "train", "tune"))
    if (
        not (method.get("about") or {}).get("fusable")
        or architecture not in FIRST_POSITION
        or any(train.get(key) for key in LOSSES)  # these losses need passes of their own
        or model.get("pooling") == "model"
        or ((family := family_of_kind(kind_of(config["task"]))) is not None and family.tokens)
        or model.get("quantize")
        or any(_measured(cost) != "counted" for cost in searched_costs(tune))  # other work in the process changes it
        or (phase != Phase.TUNE and _measured((config.get("report") or {}).get("cost")) == "alone")
    ):
        return None
    return digest([config["task"], model, config.get("augment"), train.get("precision"), config.get("device")])


def _measured(cost: str | None) -> str | None:
    """Return when a cost is known, see `Cost.measured`; None if it is unknown to this version."""
    return COSTS[cost].measured if cost in COSTS else None
