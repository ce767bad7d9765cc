"""The network of task families that recommend items: a scorer of histories, without a pretrained backbone."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from harness.data.examples import Batch
from harness.models.network import AdaptedModel
from harness.models.pretrained import HISTORY


class HistoryBatch(dict[str, Tensor]):
    """A batch of histories, padded on the left: input_ids and attention_mask (b, length)."""


class HistoryNetwork(AdaptedModel):
    """A scorer (`harness.models.recommenders.scorers`), which a method puts into `head`.

    Args:
        backbone: a `NoBackbone`.
        items: number of items I.
    """

    def __init__(self, backbone: nn.Module, items: int) -> None:
        super().__init__(backbone, HISTORY, items)

    def forward(self, batch: Batch) -> Tensor:
        """Return scores of all items, float32.

        In eval mode (b, I), for what follows the histories. In training mode (t, I), for what follows each item but the
        last of each history, row by row.
        """
        assert self.head is not None  # a method has set it
        scores: Tensor = self.head(batch["input_ids"], batch["attention_mask"].bool())
        return scores.float()

    def features(self, batch: Batch) -> Tensor:
        """Raise: there are no pooled vectors.

        Raises:
            TypeError: always.
        """
        raise TypeError("A recommender has no pooled vectors.")

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the named parameters of the scorer, which are all that there are."""
        return ((name, p) for name, p in self.named_parameters() if name.startswith("head."))
