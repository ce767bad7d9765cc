"""The network of retrieval: a bi-encoder, which gives queries and passages vectors with one backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.data.examples import Batch
from harness.models.network import AdaptedModel
from harness.models.pooling import width
from harness.models.retrieval.indexes import VectorIndex, WordIndex

MASKED = -1e4  # logit of a passage that is no negative of a query; finite, so that divergences are


class PairedBatch(dict[str, Tensor]):
    """A batch of b queries with passages to compare them with.

    These are no keys, because the keys are arguments of the backbone.

    Attributes:
        passages: a batch of p passages, each once.
        masked: (b, p) booleans, true for a relevant passage that is not the wanted one.
    """

    passages: Batch
    masked: Tensor


class RetrievalNetwork(AdaptedModel):
    """A backbone whose L2-normalized pooled vectors of queries and passages are compared.

    Args:
        backbone: an `AutoModel`.
        pooling: mean | cls | last.
        passages: number of passages P of the collection.

    Attributes:
        temperature: similarities are divided by it in training.
        head: the index of the collection. It has no parameters. Vectors are those of the current weights: they are
            computed anew after training steps, by `vectors`, when scores are asked for.
        vectors: computes the vectors (P, d) of the passages with a network, this one; None where they are loaded.
    """

    temperature = 1.0

    def __init__(self, backbone: nn.Module, pooling: str, passages: int) -> None:
        # The classes are 1, because the head of a base class is replaced at once.
        super().__init__(backbone, pooling, 1)
        self.classes = passages
        self.head: VectorIndex | WordIndex = VectorIndex(passages, width(backbone))
        self.vectors: Callable[[RetrievalNetwork], npt.NDArray[np.float32]] | None = None
        self._stale = True

    def forward(self, batch: Batch) -> Tensor:
        """Return scores, float32.

        Of a `PairedBatch` (b, p): similarities divided by the temperature. Else (b, P), of the whole collection.
        """
        features = self.features(batch)
        if isinstance(batch, PairedBatch):
            passages = self.features(batch.passages)
            with torch.autocast(features.device.type, enabled=False):
                scores = features.float() @ passages.float().T / self.temperature
            return scores.masked_fill(batch.masked, MASKED)
        return self.apply_head(features)

    def apply_head(self, features: Tensor) -> Tensor:
        """Return scores (b, P) float32 of L2-normalized pooled vectors (b, d)."""
        self.refresh()
        assert isinstance(self.head, VectorIndex)
        scores: Tensor = self.head(features)
        return scores

    def refresh(self) -> None:
        """Compute the vectors of the passages if weights may have changed since they were computed."""
        if self._stale and isinstance(self.head, VectorIndex):
            if self.vectors is None:
                raise TypeError("The vectors of the passages are not known.")
            training = self.training
            super().train(False)
            self.head.put(self.vectors(self))
            super().train(training)
            self._stale = False

    def put_index(self, index: nn.Module) -> None:
        """Use an index that is complete."""
        assert isinstance(index, VectorIndex | WordIndex)
        self.head, self._stale = index, False

    def train(self, mode: bool = True) -> RetrievalNetwork:
        """Set the mode; after training mode the vectors of the passages are computed anew."""
        self._stale |= mode
        super().train(mode)
        return self

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights into the parameters, by name."""
        super().put(weights)
        self._stale |= bool(weights)

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return nothing: an index is not trained."""
        return iter(())

    def index_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the index, for a file."""
        self.refresh()
        return {f"head.{name}": tensor.detach().cpu().contiguous() for name, tensor in self.head.named_buffers()}
