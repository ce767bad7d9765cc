"""Variances of few seeds, steadied by those of the other cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def moderate(variances: Array, df: Array) -> tuple[Array, Array]:
    """Empirical-Bayes estimates of several variances (Smyth 2004, section 6; limma's `fitFDist` and `squeezeVar`).

    The true variances are taken to scatter around a common value as a scaled inverse chi-square; how much they do is
    estimated from the estimates' own scatter. Equal ones are pooled; the more they differ, the more each stands alone.

    Args:
        variances: (K,) estimates, above 0.
        df: (K,) their degrees of freedom.

    Returns:
        (K,) moderated variances and (K,) degrees of freedom, at most those of the pool.
    """
    from scipy.special import digamma, polygamma

    if len(variances) < 2:
        return variances, df
    # log of an estimate = log of the true variance + log chi-square: known mean and variance.
    centred = np.log(variances) - digamma(df / 2) + np.log(df / 2)
    scatter = float(np.var(centred, ddof=1) - polygamma(1, df / 2).mean())
    pool = float(df.sum())
    if scatter <= 0:
        pooled = float(df @ variances) / pool
        return np.full_like(variances, pooled), np.full_like(df, pool)
    prior_df = 2 * _inverse_trigamma(scatter)
    prior = float(np.exp(centred.mean() + digamma(prior_df / 2) - np.log(prior_df / 2)))
    return (prior_df * prior + df * variances) / (prior_df + df), np.minimum(prior_df + df, pool)


def _inverse_trigamma(value: float) -> float:
    """The y with trigamma(y) = value, by Newton steps on the reciprocal, which is convex (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if abs(step) < 1e-10 * y:
            break
    return y
