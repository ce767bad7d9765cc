"""Detectors of rows that belong to no class. All scores are higher for rows that do belong to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

CONFIDENCE, ENERGY, MAHALANOBIS, KNN = "confidence", "energy", "mahalanobis", "knn"
# In the order of preference without rows to choose by: that of docs/decisions/when-not-to-answer.md.
DETECTORS = (MAHALANOBIS, KNN, ENERGY, CONFIDENCE)
OF_FEATURES = (MAHALANOBIS, KNN)
NEIGHBOR = 5  # k: the similarity to the k-th nearest training row counts
MOST_ROWS = 4096  # training rows that are compared with; more are thinned evenly, which changes the area little
PART = 1024  # rows that are compared at once


@dataclass(frozen=True)
class FeatureStatistics:
    """What detectors on features know of the training rows.

    Attributes:
        whitening: (d, d) W with W W' the inverse of the covariance within classes.
        means: (C, d) class means times W.
        bank: (n, d) L2-normalized features of training rows; None where it was left out.
    """

    whitening: Features
    means: Features
    bank: Features | None


def statistics_of(features: Features, targets: npt.NDArray[np.int64]) -> FeatureStatistics:
    """Compute the statistics of training rows.

    The covariance is shared by the classes (Lee et al. 2018, arXiv:1807.03888) and shrunk (Ledoit and Wolf 2004), since
    few-shot tasks have fewer rows than dimensions.

    Args:
        features: (n, d), L2-normalized.
        targets: (n,) class indices.
    """
    from sklearn.covariance import ledoit_wolf

    values = features.astype(np.float64)
    classes, of_row = np.unique(targets, return_inverse=True)
    means = np.stack([values[of_row == place].mean(axis=0) for place in range(len(classes))])
    covariance, _ = ledoit_wolf(values - means[of_row], assume_centered=True)
    sizes, vectors = np.linalg.eigh(covariance)
    # With one row a class nothing scatters; the floor makes the distance a Euclidean one.
    whitening = vectors / np.sqrt(np.maximum(sizes, max(float(sizes.max()), 1e-12) * 1e-6))
    kept = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST_ROWS)).astype(np.int64))
    return FeatureStatistics(
        whitening.astype(np.float32), (means @ whitening).astype(np.float32), np.ascontiguousarray(features[kept])
    )


def score(
    name: str, confidence: npt.NDArray[Any], outputs: npt.NDArray[Any], features: Features | None,
    statistics: FeatureStatistics | None,
) -> Scores:  # fmt: skip
    """Return the scores (n,) of a detector.

    Args:
        name: of the detector.
        confidence: (n,) calibrated probability of the best class (Hendrycks and Gimpel 2017, arXiv:1610.02136).
        outputs: (n, C) logits; the energy is the logarithm of their summed exponentials (Liu et al. 2020,
            arXiv:2010.03759).
        features: (n, d), L2-normalized; for detectors on features.
        statistics: of the training rows; likewise.
    """
    if name == CONFIDENCE:
        return confidence.astype(np.float64)
    if name == ENERGY:
        top = outputs.max(axis=1).astype(np.float64)
        return np.asarray(top + np.log(np.exp(outputs - top[:, None]).sum(axis=1)))
    assert features is not None
    assert statistics is not None
    parts = [features[start : start + PART] for start in range(0, len(features), PART)]
    measure = _nearness if name == KNN else _mahalanobis
    return np.concatenate([measure(part, statistics) for part in parts]) if parts else np.zeros(0)


def _mahalanobis(features: Features, statistics: FeatureStatistics) -> Scores:
    """Return minus the squared Mahalanobis distance to the nearest class mean."""
    placed = (features @ statistics.whitening).astype(np.float64)
    means = statistics.means.astype(np.float64)
    squares = (placed**2).sum(axis=1)[:, None] + (means**2).sum(axis=1)[None] - 2 * placed @ means.T
    return np.asarray(-squares.min(axis=1))


def _nearness(features: Features, statistics: FeatureStatistics) -> Scores:
    """Return the cosine to the k-th nearest training row (Sun et al. 2022, arXiv:2204.06507)."""
    bank = statistics.bank
    assert bank is not None
    similar = features @ bank.T
    k = min(NEIGHBOR, similar.shape[1])
    return np.asarray(np.partition(similar, -k, axis=1)[:, -k].astype(np.float64))


def least_score(scores: Mapping[str, Scores], name: str, rejected: float) -> float:
    """Return the score below which a new row of the classes falls with at most this probability (split conformal).

    Args:
        scores: of validation rows that belong to classes, by detector.
        name: of the detector.
        rejected: the probability.
    """
    ordered = np.sort(scores[name])
    place = int(np.floor(rejected * (len(ordered) + 1)))
    return float(ordered[place - 1]) if place >= 1 else -np.inf
