"""Training of biases only, and the head (BitFit, Ben Zaken et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.methods.base import GradientTrained, Hooks

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel


@dataclass(kw_only=True)
class BitFit(GradientTrained):
    """Trains the biases of all layers, norms included, and the head."""

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Unfreeze biases and the head."""
        network.requires_grad_(False)
        biases = [p for name, p in network.backbone.named_parameters() if name.endswith("bias")]
        if not biases:
            # For example, ModernBERT has none.
            raise HarnessError(
                f"method={self.name} trains biases, and the backbone of model={model.name} has none. "
                "Choose another method, such as lora or full, or another model."
            )
        for bias in biases:
            bias.requires_grad_(True)
        network.unfreeze_head()
        return Hooks()
