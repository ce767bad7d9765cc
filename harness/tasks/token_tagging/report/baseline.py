"""The scores of a model that finds no entity."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import RowScores, Undefined
from harness.tasks.token_tagging.data import OUTSIDE, as_objects
from harness.tasks.token_tagging.metrics import METRICS, TAGGED


def baseline(labels: npt.NDArray[Any], metric: str) -> RowScores:
    """Return the scores (n,) of a model that tags every word as outside.

    Args:
        labels: (n,) JSON lists of tags.
        metric: name of a metric.

    Raises:
        KeyError: there is no such metric.
        Undefined: it has no value for these rows or for such a model, as the loss.
    """
    if metric == "loss":
        raise Undefined("a model that finds nothing gives no probabilities.")
    targets = as_objects([tuple(json.loads(label)) for label in labels])
    predictions = np.zeros(len(targets), dtype=TAGGED)
    predictions["tags"] = as_objects([(OUTSIDE,) * len(tags) for tags in targets])
    return METRICS[metric].per_row(targets, predictions)
