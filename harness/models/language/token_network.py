"""The network of task families that predict something for each word: a head on single token vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.examples import Batch
from harness.models.network import AdaptedModel
from harness.models.pooling import widened
from harness.models.pretrained import TOKENS


class TokenBatch(dict[str, Tensor]):
    """A batch of s sequences that says which of its tokens have outputs.

    The mask is no key, because the keys are arguments of the backbone.

    Attributes:
        predicted: (s, length) booleans.
    """

    predicted: Tensor


class TokenNetwork(AdaptedModel):
    """A backbone with a linear head on 20 x each L2-normalized token vector that has an output.

    The outputs (t, C) of a batch are in the order of its sequences and of their tokens.

    Args:
        backbone: an `AutoModel`.
        classes: number of classes C of a token.
    """

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__(backbone, TOKENS, classes)

    def features(self, batch: Batch) -> Tensor:
        """Return the L2-normalized vectors of the tokens that have outputs: (t, d) float32."""
        assert isinstance(batch, TokenBatch)
        hidden = widened(self.backbone(**batch).last_hidden_state)
        # An adapter may prepend virtual tokens; they are no part of the text.
        hidden = hidden[:, hidden.shape[1] - batch.predicted.shape[1] :]
        return functional.normalize(hidden[batch.predicted.to(torch.bool)], dim=-1)
