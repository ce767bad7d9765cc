"""Places in a ranking by score, for the families that rank items or passages. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

NONE = -1  # in place of an item where there are too few
Places = npt.NDArray[np.int64]


def places(scores: npt.NDArray[np.floating[Any]], wanted: Sequence[int]) -> tuple[Places, Places]:
    """Return for each wanted item how many have a higher score, and how many others have the same one.

    Args:
        scores: (I,) of all items.
        wanted: (m,) indices of items.
    """
    own = scores[np.asarray(wanted, dtype=np.int64)]
    ordered = np.sort(scores)
    above = len(scores) - np.searchsorted(ordered, own, side="right")
    tied = len(scores) - above - np.searchsorted(ordered, own, side="left") - 1
    return above, tied


def first(scores: npt.NDArray[np.floating[Any]], count: int) -> Places:
    """Return the items with the highest scores, the best first; of tied ones the earlier.

    Args:
        scores: (I,) of all items.
        count: number of items; fewer are returned if there are fewer.
    """
    count = min(count, len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count] if count else 0.0
    able = np.flatnonzero(scores >= least)
    return able[np.argsort(-scores[able], kind="stable")][:count]
