"""Coverage of intervals of word error rates: `python -m tests.benchmarks.statistics --only speech`.

An utterance has words, as many as a negative binomial variable plus one, and a difficulty that all seeds share; a seed
gets a word wrong by difficulty minus skill, and a few utterances are lost as a whole, with words invented beyond their
length. The truth is the ratio of expected sums, over 400,000 utterances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.tasks.text_generation.metrics.corpus import CorpusMetric

Counts = npt.NDArray[np.float64]  # (n, 2): errors and words of utterances
SEED_DEVIATION = 0.1  # of the skill, in logits
RATE = CorpusMetric(lambda counts, _: counts, lambda sums: float(sums[0] / sums[1]))


@dataclass(frozen=True)
class Task:
    """Utterances, and a recognizer's skill at them.

    Attributes:
        words: mean number of an utterance.
        skill: logit of the chance to get a word right in an utterance of mean difficulty.
        lost: share of utterances that are lost as a whole.
    """

    words: float
    skill: float
    lost: float

    def draw(self, rng: np.random.Generator, n: int, seeds: int) -> list[Counts]:
        """Return the counts of n utterances for each seed."""
        words = 1 + rng.negative_binomial(2, 2 / (1 + self.words), size=n)
        difficulty = 1.2 * rng.normal(size=n)
        found = []
        for _ in range(seeds):
            logit = difficulty - self.skill + SEED_DEVIATION * rng.normal()
            errors = rng.binomial(words, 1 / (1 + np.exp(-logit)))
            invented = words + rng.poisson(words / 2)
            errors = np.where(rng.random(n) < self.lost, invented, errors)
            found.append(np.stack([errors, words], axis=1).astype(np.float64))
        return found


TASKS = {
    "6 words, WER near 3 %": Task(6.0, 4.5, 0.005),
    "6 words, WER near 20 %": Task(6.0, 2.0, 0.02),
    "15 words, WER near 40 %": Task(15.0, 0.8, 0.05),
}


@lru_cache
def truth(task: str, metric: str) -> float:
    """Return a metric's value over many utterances, averaged over 20 seeds."""
    rng = np.random.default_rng(1)
    return float(np.mean([value for _ in range(20) for value, _ in scores(metric, TASKS[task].draw(rng, 20_000, 1))]))


def studies(task: str, n: int, seeds: int, count: int) -> Iterator[list[Counts]]:
    """Draw the counts of so many studies."""
    for i in range(count):
        yield TASKS[task].draw(np.random.default_rng((i, n, seeds)), n, seeds)


def scores(metric: str, runs: list[Counts]) -> list[tuple[float, Counts]]:
    """Return the rate and the scores of rows (n,) in each run; every rate of errors has the same form."""
    return [(RATE.value(run, run), RATE.per_row(run, run)) for run in runs]
