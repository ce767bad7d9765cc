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
MOST_ROWS = 20_000  # training rows that are compared with; more are thinned evenly
PART = 1024  # rows that are compared at once


@dataclass(frozen=True)
class FeatureStatistics:
    """What detectors on features know of the training rows.

    Attributes:
        whitening: (d, d) W with W W' the inverse of the covariance within classes.
        means: (C, d) class means times W.
        background: (d, d) V with V V' the inverse of the covariance of all rows.
        middle: (1, d) their mean times V.
        bank: (n, d) L2-normalized features of training rows; None where it was left out.
    """

    whitening: Features
    means: Features
    background: Features
    middle: Features
    bank: Features | None


def statistics_of(features: Features, targets: npt.NDArray[np.int64]) -> FeatureStatistics:
    """Compute the statistics of training rows.

    The covariance within classes is shared (Lee et al. 2018, arXiv:1807.03888). Both covariances are shrunk (Ledoit and
    Wolf 2004), since few-shot tasks have fewer rows than dimensions.

    Args:
        features: (n, d), L2-normalized.
        targets: (n,) class indices.
    """
    values = features.astype(np.float64)
    classes, of_row = np.unique(targets, return_inverse=True)
    means = np.stack([values[of_row == place].mean(axis=0) for place in range(len(classes))])
    middle = values.mean(axis=0)
    whitening, background = _whitening(values - means[of_row]), _whitening(values - middle)
    kept = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST_ROWS)).astype(np.int64))
    placed, center = means @ whitening, (middle @ background)[None]
    single = np.float32  # what the features are
    return FeatureStatistics(
        whitening.astype(single), placed.astype(single), background.astype(single), center.astype(single),
        np.ascontiguousarray(features[kept]),
    )  # fmt: skip


def _whitening(centered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(centered, assume_centered=True)
    sizes, vectors = np.linalg.eigh(covariance)
    # With one row a class nothing scatters within classes; the floor makes the distance a Euclidean one.
    return np.asarray(vectors / np.sqrt(np.maximum(sizes, max(float(sizes.max()), 1e-12) * 1e-6)))


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
    """Return minus the relative Mahalanobis distance (Ren et al. 2021, arXiv:2106.09022).

    It is the squared distance to the nearest class mean less that to the mean of all rows, which removes the directions
    in which rows of any kind scatter.
    """
    near = _squares(features @ statistics.whitening, statistics.means).min(axis=1)
    return np.asarray(_squares(features @ statistics.background, statistics.middle)[:, 0] - near)


def _squares(placed: Features, means: Features) -> npt.NDArray[np.float64]:
    """Return the squared distances (n, C) of points (n, d) to means (C, d)."""
    one, other = placed.astype(np.float64), means.astype(np.float64)
    return np.asarray((one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T)


def _nearness(features: Features, statistics: FeatureStatistics) -> Scores:
    """Return the cosine to the nearest training row: Sun et al. 2022, arXiv:2204.06507, with k = 1.

    Which k is right depends on the rows of a class; docs/decisions/when-not-to-answer.md has what was measured.
    """
    assert statistics.bank is not None
    return np.asarray((features @ statistics.bank.T).max(axis=1).astype(np.float64))


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
