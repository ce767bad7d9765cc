"""AdaLoRA (Zhang et al. 2023): LoRA that reallocates rank to the most important layers during training."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.errors import HarnessError, Problems
from harness.methods.base import Hooks
from harness.methods.peft.peft_method import PeftHooks, PeftMethod, wrap

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel

MOMENTS = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # state that PEFT's rank allocator keeps per tensor


@dataclass(kw_only=True)
class AdaLora(PeftMethod):
    """PEFT's AdaLoRA, with its schedule as fractions of the run, whose length is not known in advance.

    Attributes:
        initial: fraction of the steps before ranks are pruned.
        final: fraction of the steps after the last pruning.
    """

    initial: float = 0.1
    final: float = 0.3

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        problems = Problems()
        problems.check(
            self.initial >= 0 and self.final >= 0 and self.initial + self.final < 1,
            "method.initial and method.final are shares of the run, 0 or more and together below 1, "
            f"not {self.initial} and {self.final}.",
        )
        problems.check(
            0 < self.config.target_r < self.config.init_r,
            f"AdaLoRA reduces ranks: method.config.target_r={self.config.target_r} must lie between 0 and "
            f"method.config.init_r={self.config.init_r}, both excluded.",
        )
        problems.check(
            not self.frozen and not self.rates,
            f"method={self.name} trains all parts of its factors at one rate: leave method.frozen and method.rates.",
        )
        problems.raise_any()

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Wrap the backbone; only the adapter and the head are trained."""
        config = copy.deepcopy(self.config)
        config.total_step = total_steps
        config.tinit = int(self.initial * total_steps)
        config.tfinal = int(self.final * total_steps)
        if config.tinit >= total_steps - config.tfinal:
            raise HarnessError(f"method={self.name} needs more than {total_steps} optimizer steps: raise train.epochs.")
        network.requires_grad_(False)
        network.backbone = wrap(network.backbone, config, self.name, model)
        network.unfreeze_head()
        return AdaLoraHooks(network.backbone)


class AdaLoraHooks(PeftHooks):
    """Reallocates ranks after every step and keeps the factors orthogonal."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(peft_type="ADALORA")
        self.backbone = backbone
        self.tuner = backbone.base_model
        self.config = self.tuner.peft_config[self.tuner.trainable_adapter_name]
        self.factors = [
            (p, "lora_A" in name) for name, p in backbone.named_parameters() if "lora_A" in name or "lora_B" in name
        ]
        self.eye = torch.eye(self.config.init_r, device=self.factors[0][0].device)

    def cut(self) -> Collection[str]:
        """Return the names of the singular values, which are zero for pruned ranks."""
        return [f"backbone.{name}" for name, _ in self.backbone.named_parameters() if "lora_E" in name]

    def after_step(self, step: int) -> None:
        """Score the ranks by this step's gradients and prune the least important ones."""
        self.tuner.update_and_allocate(step)

    def penalty(self) -> Tensor:
        """Return the mean Frobenius distance of A Aᵀ and Bᵀ B from the identity (eq. 4), times its weight.

        PEFT adds it to the loss that a backbone returns; backbones here return none.
        """
        distances = [
            torch.linalg.matrix_norm((p @ p.T if is_a else p.T @ p) - self.eye.to(p.device)) for p, is_a in self.factors
        ]
        weight: float = self.config.orth_reg_weight
        return weight * torch.stack(distances).mean()

    def state(self) -> dict[str, Tensor]:
        """Return the allocator's moments and the current rank pattern."""
        allocator = self.tuner.rankallocator
        tensors = {f"{kind}:{name}": t for kind in MOMENTS for name, t in getattr(allocator, kind).items()}
        pattern = self.config.rank_pattern or {}
        return tensors | {f"pattern:{name}": torch.tensor(kept) for name, kept in pattern.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the allocator's moments and the rank pattern."""
        sorted_out: dict[str, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            kind, name = key.split(":", 1)
            sorted_out.setdefault(kind, {})[name] = tensor
        for kind in MOMENTS:
            setattr(self.tuner.rankallocator, kind, sorted_out.get(kind, {}))
        pattern = {name: kept.tolist() for name, kept in sorted_out.get("pattern", {}).items()}
        self.config.rank_pattern = pattern or None

    def save(self, network: AdaptedModel, directory: Path) -> bool:
        """Write the adapter with its current ranks."""
        # The restored epoch may precede the last pruning, so the ranks are read from the weights.
        self.config.rank_pattern = {
            name.removeprefix("base_model.model."): (p != 0).flatten().tolist()
            for name, p in network.backbone.named_parameters()
            if "lora_E" in name
        }
        return super().save(network, directory)
