"""Training of the head alone, by gradients; the backbone stays pretrained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.methods.base import GradientTrained, Hooks

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel


@dataclass(kw_only=True)
class HeadOnly(GradientTrained):
    """The head on a frozen backbone, for heads that no formula fits, such as one that finds objects."""

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Unfreeze the head."""
        network.requires_grad_(False)
        network.unfreeze_head()
        return Hooks()
