"""Interactions of users with items as a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.methods.base import Labels

MOST_ITEMS = 20_000  # a matrix of all pairs takes 1.6 GB in single precision


def interactions(histories: Sequence[Labels], items: int) -> Any:
    """Return a SciPy CSR matrix (n, I) of ones where a user has an item.

    Args:
        histories: n arrays of item indices.
        items: I.
    """
    from scipy import sparse

    places = np.cumsum([0, *map(len, histories)])
    columns = np.concatenate(histories) if len(histories) else np.zeros(0, dtype=np.int64)
    made = sparse.csr_matrix(
        (np.ones(len(columns)), columns.astype(np.int64), places), shape=(len(histories), items), dtype=np.float64
    )
    made.sum_duplicates()
    made.data[:] = 1.0
    return made


def check_items(method: str, items: int) -> None:
    """Refuse more items than a matrix of all pairs can be held for.

    Raises:
        HarnessError: there are more.
    """
    if items > MOST_ITEMS:
        raise HarnessError(
            f"method={method} holds a number for every pair of {items:,} items, and takes at most {MOST_ITEMS:,}. "
            "Leave rare items out with task.min_item_users, or choose method=popularity or method=sasrec."
        )
