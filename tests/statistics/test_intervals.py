"""Intervals against statsmodels, scipy and the cases in which the model is a simpler one."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

from harness.errors import HarnessError
from harness.statistics import interval
from harness.statistics.variance.components import components


def scores(seeds: int = 4, examples: int = 25) -> np.ndarray:
    """Scores with effects of seeds, examples and both."""
    rng = np.random.default_rng(3)
    return (
        0.8
        + 0.2 * rng.normal(size=(seeds, 1))
        + 0.5 * rng.normal(size=(1, examples))
        + 0.3 * rng.normal(size=(seeds, examples))
    )


def long(values: np.ndarray) -> pd.DataFrame:
    """A row a score, as statsmodels takes it."""
    seed, example = np.indices(values.shape)
    return pd.DataFrame({"y": values.ravel(), "seed": seed.ravel(), "example": example.ravel(), "all": 1})


def test_mean_squares_are_those_of_anova_lm() -> None:
    """Components and error come from the mean squares of the two-way analysis of variance."""
    values = scores()
    table = anova_lm(smf.ols("y ~ C(seed) + C(example)", long(values)).fit())
    seed, example, residual = (table.loc[name, "mean_sq"] for name in ("C(seed)", "C(example)", "Residual"))
    found = components(values)
    assert found.seed_variance * found.examples == pytest.approx(seed)
    assert found.residual_variance == pytest.approx(residual)
    assert interval(values).error == pytest.approx(np.sqrt((seed + example - residual) / values.size))


def test_seed_deviation_is_that_of_mixedlm() -> None:
    """Restricted maximum likelihood of the crossed model gives the same deviation between seeds."""
    values = scores()
    parts = {"seed": "0 + C(seed)", "example": "0 + C(example)"}
    fitted = smf.mixedlm("y ~ 1", long(values), groups="all", vc_formula=parts).fit(reml=True)
    variance = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))["seed"]
    assert interval(values).seed_std == pytest.approx(np.sqrt(variance), rel=1e-2)


def test_one_seed_is_the_t_interval_over_examples() -> None:
    """With one seed the interval is scipy's over examples, and says that it concerns that model only."""
    values = scores(seeds=1)
    found = interval(values, confidence=0.9)
    low, high = stats.ttest_1samp(values[0], 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.scope, found.seed_std, found.df) == ("models", None, 24)


def test_identical_seeds_add_nothing_but_widen_the_claim() -> None:
    """Seeds without effect leave the interval over examples, which then holds whatever the seed."""
    values = scores(seeds=1)
    one, three = interval(values), interval(np.repeat(values, 3, axis=0))
    assert (three.low, three.high, three.df) == pytest.approx((one.low, one.high, one.df))
    assert (three.scope, three.seed_std) == ("seeds", 0.0)


def test_without_example_effects_it_is_the_t_interval_over_seeds() -> None:
    """Where examples do not differ, only the means of the seeds count."""
    means = np.array([0.81, 0.86, 0.84, 0.9])
    noise = np.random.default_rng(0).normal(size=(4, 500)) * 1e-6
    found = interval(means[:, None] + noise)
    low, high = stats.ttest_1samp(means, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3)


def test_seeds_that_happen_to_agree_in_their_mean_keep_their_noise() -> None:
    """Equal means of seeds that err on different examples are luck, not certainty."""
    values = np.ones((3, 30))
    values[np.arange(3), np.arange(3)] = 0
    found = interval(values)
    assert found.seed_std == 0
    assert found.error > 0


@pytest.mark.parametrize("values", [np.ones((3, 1)), np.ones(5), np.array([[1.0, np.nan]])])
def test_scores_that_give_no_interval_raise(values: np.ndarray) -> None:
    with pytest.raises(HarnessError, match="Statistics need"):
        interval(values)
