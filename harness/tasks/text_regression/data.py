"""A loaded regression data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class RegressionData(Dataset):
    """A data set whose targets are numbers, in the unit of the source.

    Attributes:
        center, scale: mean and standard deviation of the training targets. Models are trained on (target - center) /
            scale, so that a learning rate means the same for every unit.
    """

    family: ClassVar[str] = "text_regression"

    center: float
    scale: float
