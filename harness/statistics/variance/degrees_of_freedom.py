"""Degrees of freedom of a sum of two estimated variances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

# Of 1, 1.25, 1.5 and 2, the power with coverage closest to the nominal in tests/benchmarks/statistics; with few degrees
# of freedom a variance that is estimated too low hides its own share, so the power falls there, to 0.65 with one.
SHARE_POWER = 1.25
FEW_DF = 0.6


def weighted_df(seed: Values, seed_df: Values, spread: Values, spread_df: float, power: float = SHARE_POWER) -> Values:
    """Return the degrees of freedom of seed + spread.

    Their reciprocal is the sum of the parts' reciprocals, each weighted by a power of the part's share of the sum. The
    power 2 is Satterthwaite's (1946), whose coverage is too low if a part with few degrees of freedom is about as large
    as one with many; 1 is Cochran's (1964) weighting, applied to the reciprocals instead of the quantiles, whose
    coverage is a little too high. The power here lies between, and below 1 with one degree of freedom.

    Args:
        seed, spread: independent variance estimates, any shape, at least 0.
        seed_df, spread_df: their degrees of freedom.
        power: of the shares, where there are many degrees of freedom.
    """
    total = seed + spread
    share = np.divide(seed, total, out=np.zeros_like(total), where=total > 0)
    powers = power - FEW_DF / np.maximum(seed_df, 1.0) ** 6
    found: Values = 1 / (share**powers / seed_df + (1 - share) ** powers / spread_df)
    return found
