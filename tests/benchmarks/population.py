"""Studies drawn from a known population: what the statistics say of them can be held against the truth.

Most examples are nearly always right, some nearly always wrong, some in between; methods agree on most of them. A seed
moves the log-odds of all examples of its method, so that accuracies of seeds on unlimited examples scatter as asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DIFFICULTY = (0.9, 0.15)  # Beta distribution of an example's chance to be right, before methods differ
DISAGREEMENT = 1.0  # standard deviation of a method's own log-odds of an example


def _log_odds(rng: np.random.Generator, n: int) -> Array:
    chance = np.clip(rng.beta(*DIFFICULTY, size=n), 1e-5, 1 - 1e-5)
    odds: Array = np.log(chance / (1 - chance))
    return odds


@lru_cache
def calibrate(accuracy: float, deviation: float) -> tuple[float, float]:
    """Shift of the log-odds and its deviation over seeds that give this accuracy and deviation of accuracies."""
    rng = np.random.default_rng(0)
    odds = _log_odds(rng, 200_000) + DISAGREEMENT * rng.normal(size=200_000)
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    weights = weights / weights.sum()
    shift, scale = 0.0, 0.1 if deviation else 0.0
    for _ in range(60):
        chances = [1 / (1 + np.exp(-(odds + shift + scale * node))) for node in nodes]
        of_seeds = np.array([np.mean(each) for each in chances])
        mean = float(weights @ of_seeds)
        slope = float(weights @ np.array([np.mean(each * (1 - each)) for each in chances]))
        spread = float(np.sqrt(weights @ (of_seeds - mean) ** 2))
        if abs(mean - accuracy) < 1e-6 and abs(spread - deviation) < 1e-6:
            break
        shift += (accuracy - mean) / slope
        scale *= deviation / spread if deviation else 1.0
    else:
        raise AssertionError(f"no population has accuracy {accuracy} and seed deviation {deviation}")
    return shift, scale


def draw(
    rng: np.random.Generator, n: int, seeds: int, accuracies: Sequence[float], deviations: Sequence[float]
) -> list[Array]:
    """One study: right (1) or wrong (0) of each method, (seeds, n), on n fresh examples that all methods share.

    A method of deviation 0 is deterministic: its seeds are identical.
    """
    shared = _log_odds(rng, n)
    cells = []
    for accuracy, deviation in zip(accuracies, deviations, strict=True):
        shift, scale = calibrate(accuracy, deviation)
        against = np.exp(-(shared + DISAGREEMENT * rng.normal(size=n) + shift)).astype(np.float32)
        rows = seeds if deviation else 1
        moved = np.exp(-scale * rng.normal(size=(rows, 1))).astype(np.float32)
        right = rng.random((rows, n), dtype=np.float32) * (1 + against * moved) < 1
        cells.append(np.repeat(right.astype(np.float64), seeds // rows, axis=0))
    return cells
