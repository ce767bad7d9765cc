"""Full fine-tuning: all parameters of the backbone are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.methods.base import GradientTrained, Hooks

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel


@dataclass(kw_only=True)
class Full(GradientTrained):
    """Full fine-tuning."""

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Unfreeze everything."""
        network.requires_grad_(True)
        return Hooks()
