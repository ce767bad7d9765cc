"""Coverage of intervals of entity F1, precision and recall: `python -m tests.benchmarks.statistics --only tagging`.

A sentence has entities, as many as a Poisson variable whose mean differs between sentences, and a difficulty that all
seeds share; a seed finds an entity by skill minus difficulty, and predicts wrong ones as well. The truth is
the ratio of expected sums, over 400,000 sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.tasks.token_tagging.metrics import EntityCounts, f1, precision, ratio, recall

Array = npt.NDArray[np.float64]
SEED_DEVIATION = 0.1  # of the skill, in logits
RATIOS = {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall}


@dataclass(frozen=True)
class Task:
    """A tagging task and a method's skill at it.

    Attributes:
        entities: mean number of a sentence.
        skill: logit of the chance to find one in a sentence of mean difficulty.
        wrong: mean number of wrong predictions a sentence.
    """

    entities: float
    skill: float
    wrong: float

    def draw(self, rng: np.random.Generator, n: int, seeds: int) -> list[EntityCounts]:
        """Return the counts of n sentences for each seed."""
        true = rng.poisson(self.entities * rng.gamma(1.0, size=n))
        difficulty = rng.normal(size=n)
        found = []
        for _ in range(seeds):
            logit = self.skill - difficulty + SEED_DEVIATION * rng.normal()
            right = rng.binomial(true, 1 / (1 + np.exp(-logit)))
            predicted = right + rng.poisson(self.wrong * np.exp(0.5 * difficulty - 0.125))
            found.append(EntityCounts(*(each.astype(np.float64)[:, None] for each in (right, predicted, true))))
        return found


TASKS = {
    "0.8 entities, F1 near 40 %": Task(0.8, -0.8, 0.4),
    "1 entity, F1 near 85 %": Task(1.0, 2.0, 0.15),
    "3 entities, F1 near 60 %": Task(3.0, 0.3, 1.0),
}


@lru_cache
def truth(task: str, metric: str) -> float:
    """Return a metric's value over many sentences, averaged over 20 seeds."""
    rng = np.random.default_rng(1)
    return float(np.mean([value for _ in range(20) for value, _ in scores(metric, TASKS[task].draw(rng, 20_000, 1))]))


def studies(task: str, n: int, seeds: int, count: int) -> Iterator[list[EntityCounts]]:
    """Draw the counts of so many studies."""
    for i in range(count):
        yield TASKS[task].draw(np.random.default_rng((i, n, seeds)), n, seeds)


def scores(metric: str, runs: list[EntityCounts]) -> list[tuple[float, Array]]:
    """Return a metric's value and scores of rows (n,) in each run."""
    return [ratio(*pair) for run in runs for pair in RATIOS[metric](run)]
