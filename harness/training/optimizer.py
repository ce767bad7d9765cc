"""AdamW over a network's trainable parameters, and the learning rate schedule."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.api.schedules import SCHEDULES
from harness.config.schema import TrainConfig
from harness.methods.base import Hooks
from harness.models.network import AdaptedModel
from harness.training.regularization import depth_factors


def make_optimizer(network: AdaptedModel, config: TrainConfig, hooks: Hooks) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters.

    The head learns at `train.head_lr`, other parameters at the method's fraction of `train.lr`, which train.layer_decay
    reduces for lower blocks. Biases and norms have no weight decay.
    """
    head = {name for name, _ in network.head_parameters()}
    depth = depth_factors(network, config.layer_decay)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in network.trainable().items():
        peak = config.head_lr if name in head else config.lr * hooks.rate_factor(name) * depth(name)
        # Biases, norms and scaling vectors are the parameters with only one non-trivial dimension.
        decay = config.weight_decay if max(parameter.shape, default=1) < parameter.numel() else 0.0
        groups.setdefault((peak, decay), []).append(parameter)
    listed = [{"params": ps, "lr": peak, "peak": peak, "weight_decay": decay} for (peak, decay), ps in groups.items()]
    return torch.optim.AdamW(listed, fused=True)


def rate(step: int, total: int, warmup: float, schedule: str) -> float:
    """Return the fraction of the peak rate at a step (from 0) of `total`: linear warm-up, then the schedule."""
    rising = int(warmup * total)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[schedule]((step - rising) / max(total - rising, 1))
