"""Shrink the variances of cells with few seeds towards those of the other cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Weight of the common variance, in degrees of freedom. Estimating it, as limma does, trusts the pool too much if few
# seeds cannot show that the variances differ; without a pool, three seeds resolve nothing. Measured in
# docs/decisions/pooled-seed-variances.md.
PRIOR_DF = 2.0


def moderate(variances: Array, df: Array, pool: float) -> tuple[Array, Array]:
    """Shrink variances towards their mean (Smyth 2004, equation 1, with a fixed prior).

    Args:
        variances: (K,) estimates, above 0.
        df: (K,) their degrees of freedom.
        pool: degrees of freedom of all together.

    Returns:
        (K,) moderated variances and (K,) degrees of freedom, at most those of the pool.
    """
    if len(variances) < 2:
        return variances, df
    moderated = (PRIOR_DF * variances.mean() + df * variances) / (PRIOR_DF + df)
    return moderated, np.minimum(PRIOR_DF + df, pool)
