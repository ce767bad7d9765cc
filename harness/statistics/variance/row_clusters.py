"""Test rows that belong together, such as questions on one passage: their effects are summed per cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

Array = npt.NDArray[np.float64]
Groups = Sequence[Any] | npt.NDArray[Any]


def cluster_scores(scores: Array, groups: Groups) -> Array:
    """Replace the rows' scores by one score a cluster, which leaves the mean of every run as it is.

    A cluster's score is the mean plus G / n times the sum of its rows' deviations from it, G clusters of n rows. The
    variance of these scores, divided by G, is the cluster-robust variance of the mean with the correction G / (G - 1)
    (Liang & Zeger 1986), so an analysis of them is one of clusters, and effects of seeds in a cluster are summed too.

    Args:
        scores: (S, n).
        groups: (n,) the cluster of each row.

    Returns:
        (S, G).

    Raises:
        HarnessError: another number of groups than rows, or fewer than 2 clusters.
    """
    rows = scores.shape[-1]
    if len(groups) != rows:
        raise HarnessError(f"Each test row has one group; here are {rows} rows and {len(groups)} groups.")
    names, cluster = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise HarnessError(
            "All test rows belong to one group, so nothing is known of other groups. Name a column with several "
            "values, or none."
        )
    mean = scores.mean()
    sums = np.zeros((len(scores), len(names)))
    np.add.at(sums.T, cluster, (scores - mean).T)
    found: Array = mean + len(names) / rows * sums
    return found
