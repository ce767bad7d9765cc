"""Shrink the variances of cells with few seeds towards those of the other cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Weight of the common variance, in degrees of freedom. Estimating it, as limma does, trusts the pool too much if few
# seeds cannot show that the variances differ; without a pool, three seeds resolve nothing. Measured in
# docs/decisions/typical-seed-variances.md.
PRIOR_DF = 2.0


def moderate(variances: Array, df: Array, pool: float) -> tuple[Array, Array]:
    """Shrink variances towards their typical size (Smyth 2004, equation 1, with a fixed prior), but only upwards.

    The typical size is the geometric mean, corrected for the bias of a logarithm, so that one wild cell hardly moves
    it. A cell whose own variance is larger keeps its own, and the degrees of freedom that the prior adds fade with the
    ratio of the two. A cell with fewer seeds than the others gets fewer, too: it has shown less of being like them.

    Args:
        variances: (K,) estimates, above 0.
        df: (K,) their degrees of freedom.
        pool: degrees of freedom of all together.

    Returns:
        (K,) moderated variances and (K,) degrees of freedom, at most those of the pool.
    """
    if len(variances) < 2:
        return variances, df
    common = _typical(variances, df)
    shrunk = (PRIOR_DF * common + df * variances) / (PRIOR_DF + df)
    larger = variances > common
    credit = PRIOR_DF * df / df.max() * np.where(larger, common / variances / 2, 1.0)
    return np.where(larger, variances, shrunk), np.minimum(df + credit, pool)


def _typical(variances: Array, df: Array) -> float:
    from scipy.special import digamma

    # The mean of the logarithm of chi-square over its degrees of freedom
    bias = digamma(df / 2) - np.log(df / 2)
    return float(np.exp(np.average(np.log(variances) - bias, weights=df)))
