"""Slots of replies: whether an output contains the texts that it has to, such as an order number. Imports no torch."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from harness.api.metric import Predictions, RowScores, Targets, Undefined
from harness.tasks.text_generation.metrics.corpus import CorpusMetric, Statistics, mean_of, texts


def slot_accuracy() -> CorpusMetric:
    """Return the fraction of all slots whose text an output contains."""
    return CorpusMetric(_counts, lambda sums: float(sums[0] / sums[1]))


def joint_slot_accuracy() -> CorpusMetric:
    """Return the fraction of outputs that contain all of their slots."""

    def rows(targets: Targets, predictions: Predictions) -> RowScores:
        found = _counts(targets, predictions)
        whole: RowScores = (found[:, 0] == found[:, 1]).astype(np.float64)
        return whole

    return mean_of(rows)


def contains(output: str, slot: str) -> bool:
    """Return whether an output contains a slot's text, whatever the letter case and white space, as whole words."""
    return _pattern(slot).search(" ".join(output.split())) is not None


@lru_cache(maxsize=10_000)
def _pattern(slot: str) -> re.Pattern[str]:
    # A number is not part of a longer one: 4.90 is not in 14.90, and 30 not in 30.50.
    return re.compile(
        rf"(?<![a-z0-9])(?<!\d[.,]){re.escape(' '.join(slot.split()))}(?![a-z0-9])(?![.,]\d)", re.IGNORECASE
    )


def _counts(targets: Targets, predictions: Predictions) -> Statistics:
    """Return for each row the number of slots that its output contains, and of all of its slots: (n, 2)."""
    slots = [getattr(references, "slots", ()) for references in targets]
    if not any(slots):
        raise Undefined("these rows have no slots.")
    pairs = zip(texts(predictions), slots, strict=True)
    return np.array([[sum(contains(text, slot) for slot in row), len(row)] for text, row in pairs], dtype=np.float64)
