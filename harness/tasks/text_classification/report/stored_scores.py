"""Scores of single rows from files of predictions that were written before they held scores."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import RowScores, Undefined
from harness.tasks.text_classification.metrics import METRICS


def stored_scores(table: Any, metric: str, where: str) -> RowScores:
    """Compute the scores (n,) of a metric from labels and probabilities.

    Args:
        table: Arrow table of the test rows, with `label`, `prediction` and `probabilities`; accuracy needs no
            probabilities, and some files have none.
        metric: its name.
        where: name of the file, for messages.

    Raises:
        KeyError: there is no such metric.
        Undefined: it has no value for these rows.
        ValueError: the file does not say which probability belongs to which class.
    """
    labels = np.asarray(table["label"].to_pylist(), dtype=object)
    predicted = np.asarray(table["prediction"].to_pylist(), dtype=object)
    if metric == "accuracy":
        right: RowScores = (labels == predicted).astype(np.float64)
        return right
    flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    probabilities = flat.reshape(len(table), -1)
    if not np.isfinite(probabilities).all():
        raise Undefined("a probability is not finite.")
    names = _names(table, labels, predicted, probabilities, where)
    index = {name: position for position, name in enumerate(names)}
    return METRICS[metric].per_row(np.array([index[name] for name in labels], dtype=np.int64), probabilities)


def _names(
    table: Any,
    labels: npt.NDArray[np.object_],
    predicted: npt.NDArray[np.object_],
    probabilities: npt.NDArray[np.float32],
    where: str,
) -> list[str]:
    """Return the class names in the order of the probabilities."""
    kept = (table.schema.metadata or {}).get(b"labels")
    if kept is not None:
        return [str(name) for name in json.loads(kept)]
    # The first files lack names. Classes are in alphabetical order if each of them occurs in the rows.
    names = sorted({*labels, *predicted})
    if len(names) != probabilities.shape[1] or any(
        names[column] != name for column, name in zip(probabilities.argmax(axis=1), predicted, strict=True)
    ):
        raise ValueError(f"{where} does not say which probability belongs to which class")
    return names
