"""BM25: passages that share rare words with a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import Problems
from harness.methods.base import Features, Retriever

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class Bm25(Retriever):
    """BM25 (Robertson et al. 1994) over lower-case words, without a stop list or stems; the variant of Lucene.

    Attributes:
        k1: how much repeated words of a passage count; 0: whether a word occurs.
        b: how much long passages are discounted, 0 to 1.
    """

    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        """Check the fields."""
        problems = Problems()
        problems.check(0 <= self.k1 < float("inf"), f"method.k1 must be a number of 0 or more, not {self.k1}.")
        problems.check(0 <= self.b <= 1, f"method.b must lie in [0, 1], not {self.b}.")
        problems.raise_any()

    def index(self, passages: Sequence[str], vectors: Callable[[], Features]) -> nn.Module:
        """Count the words of the passages."""
        from harness.models.retrieval.indexes import WordIndex

        return WordIndex(passages, float(self.k1), float(self.b))
