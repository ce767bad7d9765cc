"""Alpha spending: the part of the error rate that each planned look at growing data may use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from harness.errors import HarnessError


def spend(alpha: float, fractions: Sequence[float]) -> list[float]:
    """Split alpha over the planned looks by a linear spending function (Lan & DeMets 1983; Kim & DeMets 1987).

    The levels sum to alpha, so all tests at these levels together have an error rate of at most alpha, however the
    looks depend on each other and whichever look is the last. Compared with Pocock's function, more of alpha is left
    for the last look, at the same number of runs in replays.

    Args:
        alpha: error rate of all looks together.
        fractions: information at each look as a fraction of that at the last look, rising to 1.

    Raises:
        HarnessError: the fractions do not rise from above 0 to 1.
    """
    if not fractions or any(after <= before for before, after in pairwise([0.0, *fractions])) or fractions[-1] != 1:
        raise HarnessError(f"Looks must be planned at fractions that rise to 1, not at {list(fractions)}.")
    return [alpha * (after - before) for before, after in pairwise([0.0, *fractions])]
