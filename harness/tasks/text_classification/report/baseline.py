"""The scores of a model that knows nothing but how frequent the classes are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import RowScores
from harness.tasks.text_classification.metrics import METRICS


def baseline(labels: npt.NDArray[Any], metric: str) -> RowScores:
    """Return the scores (n,) of a model whose probabilities are the classes' shares of these rows.

    It always predicts the most frequent class, as a collapsed run does (Mosbach et al. 2021, "On the Stability of
    Fine-tuning BERT", section 3). With its shares as probabilities, not 0 and 1, its loss is finite.

    Args:
        labels: (n,) names of classes.
        metric: name of a metric.

    Raises:
        KeyError: there is no such metric.
        Undefined: it has no value for these rows.
    """
    _, targets, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    probabilities = np.tile(counts / len(labels), (len(labels), 1))
    return METRICS[metric].per_row(targets.astype(np.int64), probabilities)
