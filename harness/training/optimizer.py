"""AdamW over a classifier's trainable parameters, and the schedule of its rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.config.schema import TrainConfig
from harness.methods.base import Hooks
from harness.models.classifier import Classifier
from harness.training.regularization import depth_factors


def make_optimizer(classifier: Classifier, config: TrainConfig, hooks: Hooks) -> torch.optim.AdamW:
    """AdamW over the trainable parameters: the head at its own rate, the rest at the method's share of `train.lr`.

    With train.layer_decay less the deeper a block lies. Biases and norms do not decay.
    """
    head = {name for name, _ in classifier.head_parameters()}
    depth = depth_factors(classifier, config.layer_decay)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in classifier.trainable().items():
        peak = config.head_lr if name in head else config.lr * hooks.rate_factor(name) * depth(name)
        # Biases, norms and scaling vectors are the parameters of one dimension.
        decay = config.weight_decay if max(parameter.shape, default=1) < parameter.numel() else 0.0
        groups.setdefault((peak, decay), []).append(parameter)
    listed = [{"params": ps, "lr": peak, "peak": peak, "weight_decay": decay} for (peak, decay), ps in groups.items()]
    return torch.optim.AdamW(listed, fused=True)


def rate(step: int, total: int, warmup: float, schedule: str) -> float:
    """Share of the peak rate at a step (from 0) of `total`: a linear rise, then the schedule's way to the end."""
    rising = int(warmup * total)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(total - rising, 1)
    if schedule == "linear":
        return 1.0 - done
    return 0.5 * (1.0 + math.cos(math.pi * done)) if schedule == "cosine" else 1.0
