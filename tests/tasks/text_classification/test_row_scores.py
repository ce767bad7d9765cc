"""Per-example values of every metric against the metric itself, a bootstrap and DeLong's variance."""

import numpy as np
import pytest

from harness.api.metric import Undefined, row_scores
from harness.tasks.text_classification.metrics import METRICS


def predictions(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of uneven classes and probabilities that are right more often than not, rounded so that ranks tie."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, size=n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = np.round(probabilities, 3) + 1e-4
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def cases(*classes: int) -> list[tuple[str, int]]:
    """Every metric that has values of rows, with every number of classes that it is defined for."""
    known = [metric for metric in METRICS if metric != "calibration_error"]
    return [(metric, count) for metric in known for count in classes if count == 2 or metric != "auroc"]


def test_the_debiased_calibration_error_has_none() -> None:
    """It is no mean of rows, so no interval or verdict can be computed from it."""
    assert "calibration_error" not in row_scores(METRICS, *predictions(40, 2))


@pytest.mark.parametrize(("metric", "classes"), cases(2, 7))
@pytest.mark.parametrize("n", [40, 900])
def test_mean_is_the_metric(metric: str, n: int, classes: int) -> None:
    labels, probabilities = predictions(n, classes)
    values = METRICS[metric].per_row(labels, probabilities)
    assert values.shape == (n,)
    assert values.mean() == pytest.approx(METRICS[metric].value(labels, probabilities), abs=1e-12)


@pytest.mark.parametrize(("metric", "classes"), cases(2, 5))
def test_spread_agrees_with_a_bootstrap(metric: str, classes: int) -> None:
    """The standard error that the values imply is the bootstrap's within 10 %."""
    labels, probabilities = predictions(1500, classes)
    if metric == "ece":  # overconfident in every bin: near calibration an absolute value has no derivative
        probabilities = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    implied = METRICS[metric].per_row(labels, probabilities).std(ddof=1) / np.sqrt(len(labels))
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(800)]
    resampled = [METRICS[metric].value(labels[rows], probabilities[rows]) for rows in draws]
    assert implied == pytest.approx(np.std(resampled, ddof=1), rel=0.1)


@pytest.mark.parametrize("metric", ["macro_f1", "weighted_f1", "mcc"])
def test_values_are_derivatives_in_the_weight_of_a_row(metric: str) -> None:
    """Repeating a row changes the metric by its influence over n, a small change at a time."""
    labels, probabilities = predictions(60, 3)
    values = METRICS[metric].per_row(labels, probabilities)
    copies = 2000
    many = np.tile(np.arange(60), copies)
    for row in range(0, 60, 7):
        rows = np.append(many, row)
        changed = METRICS[metric].value(labels[rows], probabilities[rows])
        derivative = (changed - values.mean()) * len(rows)
        assert derivative == pytest.approx(values[row] - values.mean(), abs=1e-3)


def test_auroc_variance_is_delongs() -> None:
    """The variance is S10 / positives + S01 / negatives of DeLong et al. (1988), whose placements are counted here."""
    labels, probabilities = predictions(300, 2)
    positive, negative = probabilities[labels == 1, 1], probabilities[labels == 0, 1]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    delong = wins.mean(1).var() / len(positive) + wins.mean(0).var() / len(negative)
    values = METRICS["auroc"].per_row(labels, probabilities)
    assert values.var() / len(values) == pytest.approx(delong, rel=1e-10)


def test_macro_f1_leaves_out_classes_that_do_not_occur() -> None:
    labels, probabilities = predictions(50, 3)
    wider = np.hstack([probabilities, np.zeros((50, 4))])
    np.testing.assert_allclose(
        METRICS["macro_f1"].per_row(labels, wider), METRICS["macro_f1"].per_row(labels, probabilities)
    )


def test_constant_predictions_have_an_mcc_of_0() -> None:
    values = METRICS["mcc"].per_row(np.array([0, 1, 1]), np.tile([0.9, 0.1], (3, 1)))
    assert (values == 0).all()


def test_what_has_no_value_raises() -> None:
    """AUROC of three classes or of one label, and probabilities that are not finite, have no values."""
    with pytest.raises(Undefined, match="two classes"):
        METRICS["auroc"].per_row(np.array([0, 1, 2]), np.eye(3))
    with pytest.raises(Undefined, match="both classes"):
        METRICS["auroc"].per_row(np.array([1, 1]), np.full((2, 2), 0.5))
    assert row_scores(METRICS, np.array([0, 1]), np.array([[np.nan, 0.5], [0.5, 0.5]])) == {}
