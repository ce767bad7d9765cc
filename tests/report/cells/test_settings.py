"""Settings of a report are checked against the metrics that are compared."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.report.cells.settings import Settings


@pytest.mark.parametrize("metric", ["loss", "perplexity", "bleu", "chrf", "ter", "mse", "mae"])
def test_a_metric_with_a_unit_of_its_own_takes_a_margin_in_it(metric: str) -> None:
    """One point of BLEU is 1, and so is a squared error of 1."""
    Settings(margin=1.0).check([metric])


@pytest.mark.parametrize("metric", ["accuracy", "auroc", "mcc", "brier", "pearson", "rouge1", "exact_match", "nope"])
def test_a_fraction_takes_a_margin_below_one(metric: str) -> None:
    """With 1 everything would be as good as the best."""
    with pytest.raises(HarnessError, match="below 1"):
        Settings(margin=1.0).check([metric])
    Settings(margin=0.01).check([metric])
