"""How much of the error rate each planned look at growing data may use."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.errors import HarnessError


def spend(alpha: float, fractions: Sequence[float]) -> list[float]:
    """Share of alpha for each planned look, by the Pocock-type spending function alpha ln(1 + (e - 1) t).

    Lan & DeMets (1983). The shares sum to alpha, so that tests at these levels together err at most at alpha however
    the looks depend on each other, and whichever of them was the last.

    Args:
        alpha: what all looks together may use.
        fractions: information at each look as a fraction of the last's, rising to 1.

    Raises:
        HarnessError: the fractions do not rise from above 0 to 1.
    """
    if not fractions or any(b <= a for a, b in zip([0.0, *fractions], fractions, strict=False)) or fractions[-1] != 1:
        raise HarnessError(f"Looks must be planned at fractions that rise to 1, not at {list(fractions)}.")
    spent = [alpha * math.log1p((math.e - 1) * t) for t in fractions]
    return [now - before for before, now in zip([0.0, *spent], spent, strict=False)]
