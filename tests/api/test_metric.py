"""The table of metrics against values worked out by hand and against scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import log_loss

from harness.api import metric as api
from harness.tasks.text_classification.metrics import METRICS

LABELS = np.array([0, 0, 1, 1])
BINARY = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])


def test_binary_values() -> None:
    """Each metric of four binary predictions, one of them wrong, has the value worked out by hand."""
    values = api.evaluate(METRICS, LABELS, BINARY)
    assert values["accuracy"] == 0.75
    assert values["auroc"] == 1.0  # both positives outrank both negatives
    assert values["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert values["weighted_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert values["mcc"] == pytest.approx((2 * 1 - 0 * 1) / np.sqrt(2 * 3 * 1 * 2))
    assert values["loss"] == pytest.approx(log_loss(LABELS, BINARY))
    # Confidences 0.9 right, 0.6 wrong, 0.8 right, 0.7 right fall into four different bins of 15.
    assert values["ece"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)


def test_ece_pools_rows_of_a_bin() -> None:
    """Within a bin over- and under-confidence cancel: half right at confidence 0.5 is calibrated."""
    probabilities = np.tile([0.5, 0.3, 0.2], (4, 1))
    assert METRICS["ece"].value(np.array([0, 0, 1, 2]), probabilities) == pytest.approx(0.0)


def test_brier_score() -> None:
    """The squared error of all probabilities: 0 for certainty in the right class, 2 in a wrong one."""
    assert METRICS["brier"].value(np.array([0, 1]), np.eye(2)) == 0.0
    assert METRICS["brier"].value(np.array([1, 0]), np.eye(2)) == 2.0
    assert METRICS["brier"].value(LABELS, BINARY) == pytest.approx(2 * (0.01 + 0.36 + 0.04 + 0.09) / 4)


def test_the_debiased_calibration_error_is_near_zero_for_a_calibrated_model() -> None:
    """Of 150 rows the plain error is 8 points although the model is calibrated; a model that is not keeps its error."""
    random = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(200):
        chance = random.uniform(0.5, 1, 150)
        labels = (random.random(150) > chance).astype(np.int64)
        probabilities = np.stack([chance, 1 - chance], axis=1)
        plain.append(METRICS["ece"].value(labels, probabilities))
        debiased.append(METRICS["calibration_error"].value(labels, probabilities))
    assert np.mean(plain) > 0.07
    assert np.mean(debiased) < 0.5 * np.mean(plain)
    wrong = np.full((400, 2), 0.5) + np.array([0.3, -0.3])
    assert METRICS["calibration_error"].value(np.repeat([0, 1], 200), wrong) == pytest.approx(0.3, abs=0.02)


def test_auroc_is_none_with_three_classes_or_one_label() -> None:
    """A metric without a value is None, never a placeholder number."""
    assert api.evaluate(METRICS, np.array([0, 1, 2]), np.eye(3))["auroc"] is None
    assert api.evaluate(METRICS, np.array([1, 1]), np.full((2, 2), 0.5))["auroc"] is None


def test_constant_prediction_and_zero_probability_are_finite() -> None:
    """A collapsed model still gives numbers: MCC 0 and a finite loss."""
    probabilities = np.tile([1.0, 0.0], (4, 1))
    values = api.evaluate(METRICS, LABELS, probabilities)
    assert values["mcc"] == 0.0
    assert values["loss"] is not None and np.isfinite(values["loss"])


def test_non_finite_probabilities_have_no_metrics() -> None:
    """Where a probability is not a number nothing is measured: every metric is None."""
    assert set(api.evaluate(METRICS, LABELS, np.full((4, 2), np.nan)).values()) == {None}


def test_direction_decides_what_is_better() -> None:
    """Larger is better where a metric is maximized, smaller where it is minimized; equal is not better."""
    assert METRICS["accuracy"].better(0.8, 0.7) and not METRICS["accuracy"].better(0.7, 0.7)
    assert METRICS["loss"].better(0.1, 0.2) and not METRICS["loss"].better(0.3, 0.2)


def test_imports_no_torch() -> None:
    """Reports read the table, so it must not pull in torch."""
    code = "import sys, harness.api.metric; assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
