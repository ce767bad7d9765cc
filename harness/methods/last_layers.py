"""Training of the last blocks and the head; all else stays pretrained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError, Problems
from harness.methods.base import GradientTrained, Hooks
from harness.models.architectures import blocks_of

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel


@dataclass(kw_only=True)
class LastLayers(GradientTrained):
    """Fine-tuning of the last blocks (Lee et al. 2019, What would Elsa do?, arXiv:1911.03090).

    Attributes:
        layers: number of blocks to train, counted from the last.
    """

    layers: int = 2

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        problems = Problems()
        problems.whole("method.layers", self.layers)
        problems.raise_any()

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Unfreeze the last blocks and the head."""
        blocks = blocks_of(network.backbone, model.name)
        if self.layers > len(blocks):
            raise HarnessError(
                f"method.layers={self.layers}, but model={model.name} has {len(blocks)} blocks. Name fewer, or use "
                "method=full to train everything."
            )
        network.train_from(blocks, len(blocks) - self.layers)
        return Hooks()
