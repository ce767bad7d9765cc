"""Interpolation of trained weights with the pretrained ones, for evaluation and for what is saved (`method.alpha`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.methods.base import Hooks
from harness.models.network import AdaptedModel


class Interpolation:
    """The model between the pretrained one (alpha 0) and the trained one (alpha 1).

    Weights of the backbone are interpolated (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903). Of an adapter, what it
    adds is multiplied by alpha, which is the same for the weights of the layer that it adapts. The head has no
    pretrained weights and keeps its own.

    Args:
        network: before the first step.
        hooks: of the method.
        alpha: above 0, at most 1.
    """

    def __init__(self, network: AdaptedModel, hooks: Hooks, alpha: float) -> None:
        self.network, self.alpha = network, alpha
        head = {name for name, _ in network.head_parameters()}
        found = {
            name: hooks.unadapted(name, parameter.detach())
            for name, parameter in network.trainable().items()
            if name not in head
        }
        self.start: dict[str, Tensor] = {name: value for name, value in found.items() if value is not None}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace the network's weights by the interpolated ones within the block."""
        parameters = self.network.trainable()
        own = {name: parameters[name].detach().clone() for name in self.start}
        try:
            with torch.no_grad():
                for name, start in self.start.items():
                    parameters[name].copy_(torch.lerp(start.to(own[name]), own[name], self.alpha))
            yield
        finally:
            self.network.put(own)
