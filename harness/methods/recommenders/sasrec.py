"""SASRec: a transformer over the order of a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError, Problems
from harness.methods.base import GradientTrained, Hooks
from harness.models.recommenders.scorers import SelfAttentiveScorer

if TYPE_CHECKING:
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel


@dataclass(kw_only=True)
class SasRec(GradientTrained):
    """Self-attentive sequential recommendation (Kang and McAuley 2018, arXiv:1808.09781), with all items in the loss.

    The cross entropy over all items stands in the place of the paper's binary one with a sampled item, which
    underestimates it (Klenitskiy and Vasilev 2023, arXiv:2309.07602). Its rate is `train.head_lr`.

    Attributes:
        width: size of the embeddings.
        layers, heads: of the transformer.
        length: most items of a history that are read, the last ones; at most `task.max_length`, which training reads.
        dropout: probability.
    """

    width: int = 64
    layers: int = 2
    heads: int = 1
    length: int = 200
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        problems = Problems()
        for key in ("width", "layers", "heads", "length"):
            problems.whole(f"method.{key}", getattr(self, key))
        problems.check(0 <= self.dropout < 1, f"method.dropout must lie in [0, 1), not {self.dropout}.")
        problems.raise_any()
        problems.check(
            self.width % self.heads == 0,
            f"method.width={self.width} must be a multiple of method.heads={self.heads}: heads share it.",
        )
        problems.check(
            self.alpha == 1, f"method.alpha={self.alpha} interpolates with a pretrained model: leave it at 1."
        )
        problems.raise_any()

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Put a transformer with random weights into the network."""
        if network.head is not None:
            raise HarnessError(f"method={self.name} is for recommendation, and model={model.name} is not.")
        network.head = SelfAttentiveScorer(
            network.classes, self.width, self.layers, self.heads, self.length, self.dropout
        )
        return Hooks()
