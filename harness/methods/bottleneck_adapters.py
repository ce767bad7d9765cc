"""Bottleneck adapters inside the blocks (Houlsby et al. 2019, Pfeiffer et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from harness.errors import HarnessError, Problems, nearest
from harness.methods.base import GradientTrained, Hooks
from harness.models.architectures import blocks_of, ends, modules_of

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
PLACES = ("both", "feedforward")


class Bottleneck(nn.Module):
    """The layer y + up(activation(down(y))) with y = base(x).

    Initially it equals the base: `up` is zero. The base's own dropout, if any, is applied after it.

    Args:
        base: a linear layer of d outputs; unchanged.
        width: d.
        size: of the bottleneck, m.
        activation: one of `ACTIVATIONS`.
    """

    def __init__(self, base: nn.Module, width: int, size: int, activation: str) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(width, size)
        self.activation = ACTIVATIONS[activation]()
        self.up = nn.Linear(size, width)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @property
    def weight(self) -> Tensor:
        """The base's weight: T5 reads the dtype of its layers' weights before it calls them."""
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        return weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the base and the adapter: (..., d)."""
        outputs: Tensor = self.base(inputs)
        adapted: Tensor = outputs + self.up(self.activation(self.down(outputs)))
        return adapted


@dataclass(kw_only=True)
class Adapters(GradientTrained):
    """Small networks after the sublayers of each block; they are trained with the head and optionally the norms.

    Attributes:
        size: of the bottleneck, m.
        places: both (after attention and feed-forward, Houlsby) | feedforward (Pfeiffer).
        norms: whether the blocks' normalization layers are trained, too, as in Houlsby et al.
        activation: relu | gelu | silu.
    """

    size: int = 24
    places: str = "both"
    norms: bool = True
    activation: str = "gelu"

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        problems = Problems()
        problems.whole("method.size", self.size)
        for key, value, known in (
            ("places", self.places, PLACES),
            ("activation", self.activation, tuple(ACTIVATIONS)),
        ):
            problems.check(value in known, f"method.{key} cannot be {value}. {nearest(value, known)}")
        problems.raise_any()

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Insert the adapters; unfreeze them, the head and optionally the norms."""
        backbone = network.backbone
        names = self._layers(backbone, model.name)
        norms = modules_of(backbone, "norms", model.name)
        network.requires_grad_(False)
        insert(backbone, names, self.size, self.activation)
        for name in names:
            adapter = backbone.get_submodule(name)
            assert isinstance(adapter, Bottleneck)
            for part in (adapter.down, adapter.up):
                part.requires_grad_(True)
        if self.norms:
            for block in blocks_of(backbone, model.name):
                for name, module in block.named_modules():
                    if ends(name, norms):
                        module.requires_grad_(True)
        network.unfreeze_head()
        return AdapterHooks(names, self.size, self.activation)

    def _layers(self, backbone: Any, model: str) -> list[str]:
        """Return the full names of the layers that get an adapter."""
        attention = modules_of(backbone, "attention", model)[-1:]
        feedforward = modules_of(backbone, "feedforward_output", model)
        found = [name for name, _ in backbone.named_modules()]
        # BERT's names of both end alike, so attention layers are excluded from the feed-forward ones.
        inner = [name for name in found if ends(name, attention)]
        outer = [name for name in found if ends(name, feedforward) and name not in inner and ".attention." not in name]
        return [*inner, *outer] if self.places == "both" else outer


class AdapterHooks(Hooks):
    """Records which layers were inserted."""

    def __init__(self, layers: Sequence[str], size: int, activation: str) -> None:
        self.facts: dict[str, Any] = {"layers": list(layers), "size": size, "activation": activation}

    def unadapted(self, name: str, value: Tensor) -> Tensor | None:
        """Return zero for the layer whose outputs are added; those before it may have any value."""
        inside = next((name.rpartition(f"{layer}.")[2] for layer in self.facts["layers"] if f"{layer}." in name), "")
        if inside.startswith("up."):
            return torch.zeros_like(value)
        return None if inside.startswith("down.") else value.clone()

    def inserted(self) -> dict[str, Any]:
        """Describe the adapters."""
        return self.facts


def insert(backbone: nn.Module, layers: Sequence[str], size: int, activation: str) -> None:
    """Insert an adapter after each of some layers, in place.

    Args:
        backbone: changed.
        layers: full names of linear layers.
        size: of the bottleneck.
        activation: one of `ACTIVATIONS`.

    Raises:
        HarnessError: a layer is missing or not linear.
    """
    for name in layers:
        parent, _, leaf = name.rpartition(".")
        try:
            base = backbone.get_submodule(name)
        except AttributeError as error:
            raise HarnessError(f"The backbone has no layer {name}, which an adapter should follow.") from error
        if isinstance(base, nn.Linear):
            width = base.out_features
        elif isinstance(base, Conv1D):
            width = base.nf
        else:
            raise HarnessError(f"An adapter follows a linear layer; {name} is a {type(base).__name__}.")
        with torch.device(next(base.parameters()).device):
            setattr(backbone.get_submodule(parent), leaf, Bottleneck(base, width, size, activation))
