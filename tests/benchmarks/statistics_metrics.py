"""Coverage of intervals of metrics that are no mean over rows: `python -m tests.benchmarks.statistics --only metrics`.

A row has a class, a difficulty that all seeds share, and logits that point to its class by the method's skill minus the
difficulty; a seed has logits of its own, and a temperature of its own. The truth is the metric of 200,000 rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.tasks.text_classification.metrics import METRICS

Array = npt.NDArray[np.float64]
SEED_DEVIATION = 0.1  # of the skill


@dataclass(frozen=True)
class Task:
    """A classification task and a method's skill at it.

    Attributes:
        shares: of the classes.
        skill: mean logit of the right class.
    """

    shares: tuple[float, ...]
    skill: float

    def draw(self, rng: np.random.Generator, n: int, seeds: int) -> tuple[npt.NDArray[np.int64], Array]:
        """Return labels (n,) and class probabilities (seeds, n, C)."""
        labels = rng.choice(len(self.shares), size=n, p=self.shares)
        shape = (n, len(self.shares))
        shared = 1.2 * rng.normal(size=shape) + np.log(self.shares)
        shared[np.arange(n), labels] += self.skill
        drawn = []
        for _ in range(seeds):
            logits = shared + 0.5 * rng.normal(size=shape)
            logits[np.arange(n), labels] += SEED_DEVIATION * rng.normal()
            logits *= 1.3  # too sure of itself
            chances = np.exp(logits - logits.max(axis=1, keepdims=True))
            drawn.append(chances / chances.sum(axis=1, keepdims=True))
        return labels.astype(np.int64), np.stack(drawn)


TASKS = {
    "2 classes, 5 % positive": Task((0.95, 0.05), 3.0),
    "2 classes, 20 % positive": Task((0.8, 0.2), 2.5),
    "3 classes": Task((1 / 3,) * 3, 3.0),
    "20 classes": Task((1 / 20,) * 20, 4.0),
    "77 classes": Task((1 / 77,) * 77, 5.0),
}


@lru_cache
def truth(task: str, metric: str) -> float:
    """Return a metric's value over many rows, averaged over 12 seeds."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(12):
        labels, probabilities = TASKS[task].draw(rng, 20_000, 1)
        found.append(METRICS[metric].value(labels, probabilities[0]))
    return float(np.mean(found))


def studies(task: str, n: int, seeds: int, count: int) -> Iterator[tuple[npt.NDArray[np.int64], Array]]:
    """Draw labels and probabilities of so many studies."""
    for i in range(count):
        yield TASKS[task].draw(np.random.default_rng((i, n, seeds)), n, seeds)


def scores(metric: str, labels: npt.NDArray[np.int64], probabilities: Sequence[Array] | Array) -> Array:
    """Return a metric's scores of rows (seeds, n)."""
    return np.stack([METRICS[metric].per_row(labels, each) for each in probabilities])
