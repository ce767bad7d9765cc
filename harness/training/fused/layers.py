"""Layers of a fused backbone: computed once where the sessions agree, else per session on its own tokens.

`treatment` is the registry: which layers of the PEFT library can be fused, and how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from harness.training.fused.shared_pass import SharedPass

SHARED, LOW_RANK, OWN = "shared", "low_rank", "own"


def treatment(layer: nn.Module) -> str | None:
    """Return how a session's layer can be fused.

    Returns:
        shared: nothing in it is trained or random, so one product serves all sessions;
        low_rank: such a layer with LoRA factors beside it;
        own: a layer without randomness that acts on each token alone; it is called on the session's tokens;
        None: it cannot be fused.
    """
    from peft.tuners.ia3.layer import Linear as Ia3Linear
    from peft.tuners.ln_tuning.layer import LNTuningLayer
    from peft.tuners.lora.layer import Linear as LoraLinear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.tuners.vera.layer import Linear as VeraLinear
    from transformers.pytorch_utils import Conv1D

    if not isinstance(layer, BaseTunerLayer):
        if not any(parameter.requires_grad for parameter in layer.parameters()):
            return SHARED
        # Scale and shift vectors only: if whole matrices train, sharing saves little.
        small = all(parameter.ndim == 1 for parameter in layer.parameters() if parameter.requires_grad)
        return OWN if type(layer) in (nn.Linear, nn.LayerNorm) and small else None
    if layer.merged or layer.disable_adapters or len(layer.active_adapters) != 1:
        return None
    if type(layer) is LoraLinear and type(layer.base_layer) in (nn.Linear, Conv1D) and _is_plain(layer):
        return LOW_RANK
    draws = any(isinstance(module, nn.Dropout) and module.p > 0 for module in layer.modules())
    if type(layer) in (LoraLinear, Ia3Linear, VeraLinear, LNTuningLayer) and not draws:
        return OWN
    return None


def _is_plain(layer: Any) -> bool:
    """Return whether a LoRA layer is no variant such as DoRA, and its base layer is frozen and thus shareable."""
    trained = any(parameter.requires_grad for parameter in layer.base_layer.parameters())  # with bias=lora_only or all
    return not trained and not layer.lora_variant and not any(layer.lora_bias.values())


def base(layer: Any) -> nn.Module:
    """Return the pretrained layer that an adapter layer wraps; else the layer itself."""
    found: nn.Module = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    return found


class FusedLayer(nn.Module):
    """A layer of the backbone in which the sessions differ.

    Args:
        step: the shared pass.
        layers: the K sessions' versions of the layer.
    """

    def __init__(self, step: SharedPass, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.step = step
        self.runs: list[tuple[slice, Any]] = []  # adjacent sessions of the same treatment, and their layer
        for own, sessions in groupby(range(len(layers)), lambda k: treatment(layers[k]) == OWN):
            alike = list(sessions)
            if own:
                self.runs += [(slice(k, k + 1), layers[k]) for k in alike]
            else:
                span = slice(alike[0], alike[-1] + 1)
                self.runs.append((span, LowRank(step, base(layers[span.start]), span.start, layers[span])))

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply to (1, T, d)."""
        if len(self.runs) == 1:
            found: Tensor = self.runs[0][1](inputs)
            return found
        segments = self.step.layout.segments
        pieces = [
            layer(inputs[:, segments[sessions.start].start : segments[sessions.stop - 1].stop])
            for sessions, layer in self.runs
        ]
        return torch.cat(pieces, dim=1)


@dataclass(frozen=True)
class Factors:
    """One session's LoRA factors: down (r, d), up (o, r), their scale, and the dropout probability of the input."""

    down: nn.Parameter
    up: nn.Parameter
    scale: float
    chance: float


class LowRank(nn.Module):
    """A frozen layer computed once for all tokens, plus each session's low-rank product on its own tokens.

    LoRA: Hu et al. 2021, arXiv:2106.09685. Sharing the frozen product among adapters: mLoRA (Ye et al. 2023,
    arXiv:2312.02515).

    Args:
        step: the shared pass.
        shared: the frozen layer.
        first: index of the first of these sessions in the group.
        layers: each session's version of the layer; some may have no adapter.
    """

    def __init__(self, step: SharedPass, shared: nn.Module, first: int, layers: Sequence[Any]) -> None:
        super().__init__()
        self.step, self.shared, self.sessions = step, shared, range(first, first + len(layers))
        self.factors = {first + i: _factors(layer) for i, layer in enumerate(layers) if treatment(layer) == LOW_RANK}

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply to these sessions' tokens (1, t, d)."""
        outputs: Tensor = self.shared(inputs)
        if not self.factors:
            return outputs
        layout = self.step.layout
        tokens, offset = inputs[0], layout.segments[self.sessions.start].start
        segments = [layout.segments[k] for k in self.factors]
        own = [slice(segment.start - offset, segment.stop - offset) for segment in segments]
        chances = {k: self.factors[k].chance if k in self.factors else 0.0 for k in self.sessions}
        noise = self.step.noise(chances, tokens, offset) if any(chances.values()) else None
        scales = [factors.scale for factors in self.factors.values()]
        matrices = [matrix for factors in self.factors.values() for matrix in (factors.down, factors.up)]
        added: Tensor = Products.apply(  # type: ignore[no-untyped-call]  # torch's own
            outputs[0], tokens, noise, own, scales, *matrices
        )
        return added[None]


def _factors(layer: Any) -> Factors:
    name = layer.active_adapters[0]
    dropout = layer.lora_dropout[name]
    chance = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    return Factors(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name], chance)


class Products(torch.autograd.Function):
    """outputs + scale * (inputs * noise) @ down.T @ up.T, for each session's segment with its own factors.

    The backward pass is written by hand: a step has hundreds of these small products, and autograd's bookkeeping for
    each would cost more than the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        outputs: Tensor,
        inputs: Tensor,
        noise: Tensor | None,
        segments: list[slice],
        scales: list[float],
        *matrices: Tensor,
    ) -> Tensor:
        """Add the products to `outputs` (t, o) in place; inputs and noise are (t, d)."""
        kept = (inputs if noise is None else inputs * noise).to(outputs.dtype)
        cast = [matrix.detach().to(outputs.dtype) for matrix in matrices]
        hidden = []
        for segment, scale, down, up in zip(segments, scales, cast[::2], cast[1::2], strict=True):
            hidden.append(kept[segment] @ down.T)
            outputs[segment].addmm_(hidden[-1], up.T, alpha=scale)
        ctx.mark_dirty(outputs)
        ctx.save_for_backward(kept, noise, *cast, *hidden)
        ctx.segments, ctx.scales, ctx.input_type = segments, scales, inputs.dtype
        ctx.types = [matrix.dtype for matrix in matrices]
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """Gradients of outputs, inputs and each factor."""
        kept, noise, *rest = ctx.saved_tensors
        count = len(ctx.segments)
        cast, hidden = rest[: 2 * count], rest[2 * count :]
        need = ctx.needs_input_grad
        inputs = torch.zeros_like(kept) if need[1] else None
        found: list[Tensor | None] = []
        for i, (segment, scale) in enumerate(zip(ctx.segments, ctx.scales, strict=True)):
            own = gradient[segment]
            inner = (own @ cast[2 * i + 1]).mul_(scale)
            found.append(inner.T @ kept[segment] if need[5 + 2 * i] else None)
            found.append((own.T @ hidden[i]).mul_(scale) if need[6 + 2 * i] else None)
            if inputs is not None:
                torch.mm(inner, cast[2 * i], out=inputs[segment])
        if inputs is not None:
            inputs = (inputs if noise is None else inputs.mul_(noise)).to(ctx.input_type)
        typed = [None if each is None else each.to(kind) for each, kind in zip(found, ctx.types, strict=True)]
        return (gradient, inputs, None, None, None, *typed)
