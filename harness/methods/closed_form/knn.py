"""k nearest neighbors on frozen features."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api.heads import NeighbourHead
from harness.errors import Problems
from harness.methods.base import ClosedForm, Features, Labels


@dataclass(kw_only=True)
class Knn(ClosedForm):
    """k nearest neighbors by cosine similarity (Cover and Hart 1967), weighted by similarity (Wu et al. 2018).

    Attributes:
        k: number of rows that vote; at most all of them.
        temperature: a vote has weight exp(similarity / temperature); arXiv:1805.01978 uses 0.07.
    """

    k: int = 10
    temperature: float = 0.07

    def __post_init__(self) -> None:
        """Check the fields."""
        problems = Problems()
        problems.whole("method.k", self.k)
        problems.check(self.temperature > 0, f"method.temperature must be above 0, not {self.temperature}.")
        problems.raise_any()

    def fit(self, features: Features, labels: Labels, descriptions: Features) -> NeighbourHead:
        """Store the training rows."""
        return NeighbourHead(features, labels, len(descriptions), min(self.k, len(labels)), self.temperature)
