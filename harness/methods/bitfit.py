"""Training of biases only, and the head (BitFit, Ben Zaken et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.methods.base import GradientTrained, Hooks

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.classifier import Classifier


@dataclass(kw_only=True)
class BitFit(GradientTrained):
    """Trains the biases of all layers, norms included, and the head."""

    def adapt(self, classifier: Classifier, model: PretrainedModel, total_steps: int) -> Hooks:
        """Unfreeze biases and the head."""
        classifier.requires_grad_(False)
        biases = [p for name, p in classifier.backbone.named_parameters() if name.endswith("bias")]
        if not biases:
            # For example, ModernBERT has none.
            raise HarnessError(
                f"method={self.name} trains biases, and the backbone of model={model.name} has none. "
                "Choose another method, such as lora or full, or another model."
            )
        for bias in biases:
            bias.requires_grad_(True)
        classifier.unfreeze_head()
        return Hooks()
