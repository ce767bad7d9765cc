"""The scores of a model that knows nothing but the mean of the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import RowScores
from harness.tasks.text_regression.metrics import METRICS


def baseline(labels: npt.NDArray[Any], metric: str) -> RowScores:
    """Return the scores (n,) of a model that predicts the mean of these numbers for every row.

    Args:
        labels: (n,) numbers.
        metric: name of a metric.

    Raises:
        KeyError: there is no such metric.
        Undefined: it has no value for these rows or for a constant prediction.
    """
    targets = labels.astype(np.float64)
    return METRICS[metric].per_row(targets, np.full_like(targets, targets.mean()))
