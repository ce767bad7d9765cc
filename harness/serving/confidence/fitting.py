"""Fit what a trained classifier knows of its own reliability, on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.api.metric import Predictions
from harness.data.dataset import Split
from harness.serving.confidence.detectors import (
    CONFIDENCE,
    DETECTORS,
    ENERGY,
    OF_FEATURES,
    Features,
    score,
    statistics_of,
)
from harness.serving.confidence.stored import VALIDATION, Confidence, Part
from harness.statistics.confidence.temperature import fit_temperature, scaled


class Pass(NamedTuple):
    """What a network computes of a split.

    Attributes:
        outputs: (n, C) logits.
        features: (n, d), L2-normalized; None of a network without pooled vectors.
    """

    outputs: npt.NDArray[np.float32]
    features: Features | None


def fit_confidence(
    evaluated: Mapping[str, tuple[Split, Predictions]],
    outside: Mapping[str, tuple[Split, Predictions]],
    passed: Callable[[Split], Pass] | None,
    train: Split,
    votes: bool,
) -> Confidence:
    """Fit temperature and detectors, and judge all rows.

    Args:
        evaluated: validation and test rows with their probabilities (n, C); either may be missing.
        outside: the same of rows of no class, by part.
        passed: computes logits and features of a split; None fits no detectors.
        train: the training rows.
        votes: whether the logits are logarithms of shares of votes, whose energy is always the same.
    """
    temperature = 1.0
    if VALIDATION in evaluated:
        split, probabilities = evaluated[VALIDATION]
        temperature = fit_temperature(probabilities, split.targets)
    names: list[str] = []
    statistics = None
    if passed is not None:
        trained = passed(train)
        names = [CONFIDENCE] if votes else [CONFIDENCE, ENERGY]
        if trained.features is not None:
            statistics = statistics_of(np.asarray(trained.features), train.targets)
            names += OF_FEATURES
    parts = {}
    for name, (split, probabilities) in {**evaluated, **outside}.items():
        confidence = scaled(probabilities, temperature).max(axis=1)
        scores: dict[str, Any] = {}
        if passed is not None:
            found = passed(split)
            features = None if found.features is None else np.asarray(found.features)
            scores = {each: score(each, confidence, found.outputs, features, statistics) for each in names}
        predicted = probabilities.argmax(axis=1)
        counts = np.bincount(predicted, minlength=probabilities.shape[1])
        parts[name] = Part(confidence, predicted == split.targets, scores, counts)
    return Confidence(temperature, parts, tuple(name for name in DETECTORS if name in names), statistics)
