"""A loaded classification data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset, Split


@dataclass(frozen=True, kw_only=True)
class ClassificationData(Dataset):
    """A data set whose targets are class indices.

    Attributes:
        labels: the C class names, in the order of the class indices. In a binary task the last one is the positive
            class.
        descriptions: one plain-language description per class, with which zero_shot compares texts.
    """

    family: ClassVar[str] = "text_classification"

    labels: tuple[str, ...]
    descriptions: tuple[str, ...]

    def needed(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the first row of each class."""
        return np.unique(split.targets, return_index=True)[1]
