"""Detectors by hand, and on clusters with rows that belong to none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from harness.serving.confidence.detectors import (
    CONFIDENCE,
    DETECTORS,
    ENERGY,
    KNN,
    MAHALANOBIS,
    FeatureStatistics,
    least_score,
    score,
    statistics_of,
)


def rows(source: np.random.Generator, centers: np.ndarray, count: int) -> np.ndarray:
    """Normalized points around each of the centers."""
    points = np.repeat(centers, count, axis=0) + 0.2 * source.normal(size=(count * len(centers), centers.shape[1]))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def known() -> tuple[FeatureStatistics, np.ndarray, np.ndarray, np.ndarray]:
    """Statistics of three classes in eight dimensions, their rows, new rows of them, and rows of none."""
    source = np.random.default_rng(0)
    train = rows(source, np.eye(8)[:3], 40)
    return (
        statistics_of(train, np.repeat([0, 1, 2], 40)),
        train,
        rows(source, np.eye(8)[:3], 20),
        rows(source, np.eye(8)[5:], 20),
    )


def test_features_tell_rows_of_no_class(known: tuple[FeatureStatistics, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Both detectors equal their formulas and separate the groups."""
    statistics, train, inside, outside = known
    every = np.concatenate([inside, outside])
    nothing = np.zeros((len(every), 3))
    found = {name: score(name, nothing[:, 0], nothing, every, statistics) for name in (MAHALANOBIS, KNN)}
    np.testing.assert_allclose(found[KNN], (every @ train.T).max(axis=1), atol=1e-6)
    means = np.stack([train[place * 40 : place * 40 + 40].mean(axis=0) for place in range(3)])
    within = np.linalg.inv(ledoit_wolf(train - np.repeat(means, 40, axis=0), assume_centered=True)[0])
    total = np.linalg.inv(ledoit_wolf(train - train.mean(axis=0), assume_centered=True)[0])
    near = np.min([np.einsum("ij,jk,ik->i", every - mean, within, every - mean) for mean in means], axis=0)
    far = np.einsum("ij,jk,ik->i", every - train.mean(axis=0), total, every - train.mean(axis=0))
    np.testing.assert_allclose(found[MAHALANOBIS], far - near, rtol=1e-3, atol=1e-2)
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    assert all(roc_auc_score(truth, each) > 0.95 for each in found.values())


def test_logits() -> None:
    outputs = np.array([[1.0, 2.0, 500.0], [-3.0, 0.0, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(score(ENERGY, outputs[:, 0], outputs, None, None), logsumexp(outputs, axis=1), rtol=1e-6)
    np.testing.assert_allclose(score(CONFIDENCE, outputs[:, 0], outputs, None, None), outputs[:, 0])
    assert {CONFIDENCE, ENERGY, KNN, MAHALANOBIS} == set(DETECTORS)


def test_one_row_a_class_is_enough() -> None:
    """Nothing scatters within classes: the scores stay finite."""
    source = np.random.default_rng(1)
    train = rows(source, np.eye(6)[:4], 1)
    statistics = statistics_of(train, np.arange(4))
    found = [score(name, train[:, 0], train, train, statistics) for name in (MAHALANOBIS, KNN)]
    assert np.isfinite(found).all()


def test_few_rows_of_a_class_are_rejected() -> None:
    """At most the wanted share of new rows falls below the threshold, on average over validation samples."""
    source = np.random.default_rng(2)
    draws = ((source.normal(size=99), source.normal(size=2000)) for _ in range(300))
    below = [np.mean(new < least_score({"a": old}, "a", 0.05)) for old, new in draws]
    assert 0.04 < np.mean(below) <= 0.052
    assert least_score({"a": source.normal(size=10)}, "a", 0.05) == -np.inf
