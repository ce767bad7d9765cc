"""Gradual unfreezing: blocks join the training one after another, from the last to the first (ULMFiT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from harness.errors import HarnessError
from harness.methods.base import GradientTrained, Hooks
from harness.models.architectures import blocks_of

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel


@dataclass(kw_only=True)
class GradualUnfreezing(GradientTrained):
    """Full fine-tuning that starts with the head alone (Howard and Ruder 2018, arXiv:1801.06146).

    The paper unfreezes one block per epoch. This needs many epochs, so here the blocks are spread evenly over a
    fraction of the run's steps; everything below the blocks (embeddings) joins with the lowest block.

    Attributes:
        share: fraction of the steps after which all blocks are trained.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise HarnessError(f"method.share is a share of the run, above 0 and at most 1, not {self.share}.")

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Unfreeze everything; the hooks drop the gradients of blocks that have not joined yet."""
        network.requires_grad_(True)
        blocks = blocks_of(network.backbone, model.name)
        late: dict[nn.Parameter, int] = {}
        for index, block in enumerate(reversed(blocks), 1):
            joins = int(index / len(blocks) * self.share * total_steps)
            late |= dict.fromkeys(block.parameters(), joins)
        heads = {parameter for _, parameter in network.head_parameters()}
        last = int(self.share * total_steps)
        rest = [p for p in network.backbone.parameters() if p not in late and p not in heads]
        return UnfreezingHooks(late | dict.fromkeys(rest, last))


class UnfreezingHooks(Hooks):
    """Clears the gradients of parameters that have not joined yet; the optimizer skips parameters without gradient."""

    def __init__(self, joins: dict[nn.Parameter, int]) -> None:
        self.joins = joins

    def before_update(self, step: int) -> None:
        """Drop the gradients of parameters that join after this step."""
        for parameter, joins in self.joins.items():
            if step < joins:
                parameter.grad = None
