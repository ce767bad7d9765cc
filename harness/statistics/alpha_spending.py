"""How much of the error rate each planned look at growing data may use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from harness.errors import HarnessError


def spend(alpha: float, fractions: Sequence[float]) -> list[float]:
    """Share of alpha for each planned look, by a linear spending function (Lan & DeMets 1983; Kim & DeMets 1987).

    The shares sum to alpha, so that tests at these levels together err at most at alpha however the looks depend on
    each other, and whichever of them was the last. Against Pocock's function it keeps more for the last look, at
    the same number of runs in replays.

    Args:
        alpha: what all looks together may use.
        fractions: information at each look as a fraction of the last's, rising to 1.

    Raises:
        HarnessError: the fractions do not rise from above 0 to 1.
    """
    if not fractions or any(after <= before for before, after in pairwise([0.0, *fractions])) or fractions[-1] != 1:
        raise HarnessError(f"Looks must be planned at fractions that rise to 1, not at {list(fractions)}.")
    return [alpha * (after - before) for before, after in pairwise([0.0, *fractions])]
