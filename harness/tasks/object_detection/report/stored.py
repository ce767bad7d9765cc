"""Objects and boxes of predictions.parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from harness.report.reading.predictions import Predictions
from harness.tasks.object_detection.data import Objects
from harness.tasks.object_detection.matching import Found


def classes_of(known: Predictions) -> list[str]:
    """Return the classes of objects and boxes, by name."""
    texts = [*known.labels, *known.column("prediction").ravel()]
    return sorted({str(each[0]) for text in texts for each in json.loads(text)})


def objects_of(labels: Iterable[Any], classes: Sequence[str]) -> list[Objects]:
    """Return the objects of images, from the column `label`."""
    places = {label: place for place, label in enumerate(classes)}
    rows = [json.loads(label) for label in labels]
    return [
        Objects(
            np.array([box for _, box, _ in row], dtype=np.float64).reshape(-1, 4),
            np.array([places[label] for label, _, _ in row], dtype=np.int64),
            np.array([ignored for *_, ignored in row], dtype=np.bool_),
        )
        for row in rows
    ]


def found_of(predictions: Iterable[Any], classes: Sequence[str]) -> list[Found]:
    """Return the boxes that a run found in images, from the column `prediction`."""
    places = {label: place for place, label in enumerate(classes)}
    rows = [json.loads(each) for each in predictions]
    return [
        Found(
            np.array([box for _, box, _ in row], dtype=np.float64).reshape(-1, 4),
            np.array([places[label] for label, _, _ in row], dtype=np.int64),
            np.array([score for *_, score in row], dtype=np.float64),
        )
        for row in rows
    ]
