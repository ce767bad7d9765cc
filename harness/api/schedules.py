"""Learning-rate schedules by name. A new one is one entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

# Each gives the fraction of the peak rate, from the fraction of the steps after the warm-up that are done (0 to 1).
SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "constant": lambda done: 1.0,
}
