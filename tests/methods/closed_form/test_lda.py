"""Linear discriminant analysis: scikit-learn's probabilities, and what it does with few rows."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest

from harness.errors import HarnessError
from harness.methods.closed_form.lda import Lda
from harness.methods.closed_form.nearest_mean import NearestMean
from harness.models.inference import softmax

Floats = npt.NDArray[np.float32]


def points(classes: int, rows: int, seed: int, noise: float = 0.05) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Vectors of classes that differ in small coordinates, while a large one says nothing."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    features = 0.3 * np.eye(classes, 6)[labels] + noise * generator.normal(size=(rows, 6))
    features[:, 5] += 2 * generator.normal(size=rows)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("shrinkage", ["auto", 0.0, 0.5])
def test_probabilities_are_those_of_scikit_learn(classes: int, shrinkage: float | str) -> None:
    """The head has a row a class, also of two, whose softmax is its probability."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features, labels = points(classes, 60, 0)
    head = Lda(name="lda", shrinkage=shrinkage).fit(features, labels, np.zeros((classes, 6), np.float32))
    assert head.weight.shape == (classes, 6) and head.bias.shape == (classes,)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(features, labels)
    other = points(classes, 20, 1)[0]
    np.testing.assert_allclose(softmax(other @ head.weight.T + head.bias), expected.predict_proba(other), atol=1e-4)


def test_it_looks_past_directions_in_which_all_classes_scatter() -> None:
    """Where one coordinate is large noise, it is right far more often than the nearest mean."""
    features, labels = points(3, 60, 0)
    other, truth = points(3, 300, 1)
    right = {}
    for method in (Lda(name="lda"), NearestMean(name="nearest_mean")):
        head = method.fit(features, labels, np.zeros((3, 6), np.float32))
        right[method.name] = ((other @ head.weight.T + head.bias).argmax(axis=1) == truth).mean()
    assert right["lda"] > right["nearest_mean"] + 0.1


def test_a_class_of_one_row_passes_and_only_such_classes_do_not() -> None:
    """Other classes tell how rows scatter, without a warning; where none does, another method is named."""
    features, labels = points(3, 31, 0)
    kept = (labels != 2) | (np.arange(31) == 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = Lda(name="lda").fit(features[kept], labels[kept], np.zeros((3, 6), np.float32))
    assert np.isfinite(head.weight).all() and np.isfinite(head.bias).all()
    with pytest.raises(HarnessError, match=r"every class has one row only.*method=nearest_mean"):
        Lda(name="lda").fit(features[:3], labels[:3], np.zeros((3, 6), np.float32))


def test_shrinkage_is_a_share() -> None:
    """What lies outside [0, 1], or is another word than auto, is told."""
    for shrinkage in (1.2, "none"):
        with pytest.raises(HarnessError, match=r"method\.shrinkage must lie in \[0, 1\], or be auto"):
            Lda(name="lda", shrinkage=shrinkage)
