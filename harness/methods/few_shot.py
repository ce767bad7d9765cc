"""Few-shot prompting (Brown et al. 2020): training rows as examples in every prompt, without training."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import Problems
from harness.methods.base import Prompted


@dataclass(kw_only=True)
class FewShot(Prompted):
    """Writes after a prompt that begins with training rows, drawn and ordered by the run's seed.

    Attributes:
        shots: how many.
    """

    shots: int = 4

    def __post_init__(self) -> None:
        """Check the fields."""
        problems = Problems()
        problems.whole("method.shots", self.shots)
        problems.raise_any()
