"""Heads on frozen features that a formula fits. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LinearHead:
    """A linear model of L2-normalized features x: outputs (m,) = weight @ x + bias.

    Attributes:
        weight: (m, d).
        bias: (m,).
    """

    weight: npt.NDArray[np.floating[Any]]
    bias: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NeighbourHead:
    """A vote of the nearest training rows by cosine similarity.

    Attributes:
        bank: (n, d), L2-normalized features of the training rows.
        labels: (n,) class indices.
        classes: number of classes C.
        k: number of rows that vote.
        temperature: a row's vote has weight exp(similarity / temperature).
    """

    bank: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    classes: int
    k: int
    temperature: float


Head = LinearHead | NeighbourHead
