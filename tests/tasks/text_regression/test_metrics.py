"""Metrics of regression equal their references, and their scores of rows give a bootstrap's standard error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from harness.api.metric import Undefined, row_scores
from harness.tasks.text_regression.metrics import METRICS

REFERENCES = {
    "pearson": lambda x, y: stats.pearsonr(x, y).statistic,
    "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
    "mse": lambda x, y: np.mean((x - y) ** 2),
    "mae": lambda x, y: np.mean(np.abs(x - y)),
    "loss": lambda x, y: 1 - r2_score(x, y),
}


def rows(count: int, ties: bool, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Targets, as ratings or without ties, and predictions that follow them."""
    draw = np.random.default_rng(seed)
    targets = draw.gamma(2.0, size=count)
    predictions = 0.6 * targets + draw.normal(size=count)
    return (np.round(targets), np.round(predictions, 1)) if ties else (targets, predictions)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_values_and_scores_of_rows(metric: str, ties: bool) -> None:
    """The value is the reference's and the mean of the scores; their standard error is that of a bootstrap."""
    targets, predictions = rows(400, ties)
    known = METRICS[metric]
    value, scores = known.value(targets, predictions), known.per_row(targets, predictions)
    assert value == pytest.approx(REFERENCES[metric](targets, predictions), abs=1e-12)
    assert scores.shape == (400,)
    assert scores.mean() == pytest.approx(value, abs=1e-10)
    draw = np.random.default_rng(1)
    resampled = [known.value(targets[part], predictions[part]) for part in draw.integers(0, 400, (600, 400))]
    assert scores.std(ddof=1) / 20 == pytest.approx(np.std(resampled), rel=0.15)


def test_scores_are_the_jackknife_of_a_large_sample() -> None:
    """A row's centered score is how far the metric moves when the row is left out, times the number of rows."""
    targets, predictions = rows(300, ties=True, seed=3)
    for metric in ("pearson", "spearman"):
        known = METRICS[metric]
        value, scores = known.value(targets, predictions), known.per_row(targets, predictions)
        left_out = [known.value(np.delete(targets, row), np.delete(predictions, row)) for row in range(40)]
        moved = 299 * (value - np.array(left_out))
        np.testing.assert_allclose(scores[:40] - value, moved, atol=0.06)


def test_what_has_no_value() -> None:
    """Equal targets give no correlation; constant predictions have a correlation of 0."""
    targets = np.array([1.0, 2.0, 3.0])
    for metric in ("pearson", "spearman"):
        assert METRICS[metric].value(targets, np.full(3, 0.7)) == 0.0
        assert (METRICS[metric].per_row(targets, np.full(3, 0.7)) == 0).all()
        with pytest.raises(Undefined, match="different targets"):
            METRICS[metric].value(np.full(3, 2.0), targets)
    assert set(row_scores(METRICS, np.full(3, 2.0), targets)) == {"mse", "mae", "loss"}
    assert row_scores(METRICS, targets, np.array([1.0, np.nan, 2.0])) == {}
