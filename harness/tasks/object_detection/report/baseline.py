"""The scores of a model that finds nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import RowScores, Undefined
from harness.tasks.object_detection.metrics import METRICS


def baseline(labels: npt.NDArray[Any], metric: str) -> RowScores:
    """Return the scores (n,) of a model that finds no object: 0.

    Args:
        labels: (n,) objects as JSON.
        metric: name of a metric.

    Raises:
        KeyError: there is no such metric.
        Undefined: it has no value for these rows or for such a model, as the loss.
    """
    if METRICS[metric].name == "loss":
        raise Undefined("a model that finds nothing gives no probabilities.")
    if not any(not ignored for label in labels for *_, ignored in json.loads(label)):
        raise Undefined("no image has an object.")
    return np.zeros(len(labels))
