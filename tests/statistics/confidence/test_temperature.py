"""Temperature scaling: it finds the temperature that made probabilities wrong, and changes no answer."""

from __future__ import annotations

import numpy as np
import pytest

from harness.statistics.confidence.temperature import fit_temperature, negative_log_likelihood, scaled


@pytest.mark.parametrize("made", [0.5, 1.0, 3.0])
def test_recovers_the_temperature(made: float) -> None:
    """Labels drawn from softmax(logits): of softmax(logits * made), the best temperature is `made`."""
    source = np.random.default_rng(0)
    logits = source.normal(size=(20_000, 5)) * 2
    true = scaled(np.exp(logits), 1.0)
    targets = np.array([source.choice(5, p=row) for row in true])
    given = scaled(np.exp(logits * made), 1.0)
    found = fit_temperature(given, targets)
    assert found == pytest.approx(made, rel=0.05)
    after = scaled(given, found)
    np.testing.assert_array_equal(after.argmax(1), given.argmax(1))
    np.testing.assert_allclose(after.sum(1), 1)
    assert negative_log_likelihood(after, targets) <= negative_log_likelihood(given, targets) + 1e-9


def test_extremes_stay_finite() -> None:
    """All right, all wrong, and probabilities of exactly 0: the temperature stays in its range."""
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    assert 0.01 <= fit_temperature(certain, np.array([0, 1])) <= 1  # any has a loss of 0
    assert fit_temperature(certain, np.array([1, 0])) == pytest.approx(100, rel=0.05)
    assert np.isfinite(scaled(certain, 0.01)).all()
