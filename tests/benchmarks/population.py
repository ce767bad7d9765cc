"""Studies drawn from a known population: what the statistics say of them can be held against the truth.

Most examples are nearly always right, some nearly always wrong, some in between; methods agree on most of them, and
seeds of a method differ by row as chance has it. Every run has an accuracy of its own on unlimited examples, which is
the method's plus effects of its replicate (a tuning run, a draw of training rows), its seed, and its seed and class;
the log-odds of all examples (of a class) are shifted so that they have it. So the mean of a method over replicates and
seeds is the accuracy that it is said to have, whatever the distribution of its effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DIFFICULTY = (0.9, 0.15)  # Beta distribution of an example's chance to be right, before methods differ
HIGHEST = 0.9995  # accuracy of the luckiest run


@dataclass(frozen=True)
class Method:
    """A method and the runs of it that a study has.

    Attributes:
        accuracy: mean over seeds and replicates.
        deviation: standard deviation between seeds; 0: deterministic, seeds of a replicate are identical.
        seeds: runs of each replicate; a tuple: of each replicate in turn.
        tail: distribution of the seeds' effects; t3: Student's with 3 degrees of freedom, of that deviation.
        collapse: share of seeds that collapse, and by how much; the others are better, so that the mean is kept.
        by_class: standard deviation of the effects of seed and class.
        tuning: standard deviation between replicates, independent between methods.
        draw: the same for what a draw of training rows does to this method alone.
    """

    accuracy: float = 0.86
    deviation: float = 0.003
    seeds: int | tuple[int, ...] = 3
    tail: Literal["normal", "t3"] = "normal"
    collapse: tuple[float, float] = (0.0, 0.0)
    by_class: float = 0.0
    tuning: float = 0.0
    draw: float = 0.0


@dataclass(frozen=True)
class Design:
    """What the methods of a study share.

    Attributes:
        n: test examples.
        cluster: examples of one difficulty, such as paraphrases.
        classes: number of classes, of equal size.
        replicates: of each method.
        common: standard deviation of what a draw of training rows does to all methods alike.
        disagreement: standard deviation of a method's own log-odds of an example.
        clear: multiplies all log-odds, so that seeds of a method agree on more examples.
    """

    n: int = 500
    cluster: int = 1
    classes: int = 1
    replicates: int = 1
    common: float = 0.0
    disagreement: float = 1.0
    clear: float = 1.0
    groups: npt.NDArray[np.int64] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", np.arange(self.n) // self.cluster)


def _log_odds(rng: np.random.Generator, n: int, clear: float) -> Array:
    chance = np.clip(rng.beta(*DIFFICULTY, size=n), 1e-5, 1 - 1e-5)
    odds: Array = clear * np.log(chance / (1 - chance))
    return odds


@lru_cache
def _shifts(disagreement: float, clear: float) -> tuple[Array, Array]:
    """Accuracies, rising, and the shifts of the log-odds that give them."""
    rng = np.random.default_rng(0)
    odds = _log_odds(rng, 200_000, clear) + disagreement * rng.normal(size=200_000)
    shifts = np.linspace(-25 * clear, 15 * clear, 401)
    return np.array([np.mean(1 / (1 + np.exp(-(odds + shift)))) for shift in shifts]), shifts


def draw(rng: np.random.Generator, design: Design, methods: Sequence[Method]) -> tuple[list[Array], list[list[int]]]:
    """One study on fresh examples that all methods share.

    Returns:
        Right (1) or wrong (0) of each method, (runs, n), and the replicate of each run.
    """
    clusters = design.groups[-1] + 1
    shared = _log_odds(rng, clusters, design.clear)
    classes = rng.integers(design.classes, size=design.n)
    common = design.common * rng.normal(size=design.replicates)
    table = _shifts(design.disagreement, design.clear)
    cells, labels = [], []
    for method in methods:
        odds = (shared + design.disagreement * rng.normal(size=clusters))[design.groups]
        replicate, effects = _effects(rng, design, method, common)
        accuracies = effects[:, None] + method.by_class * rng.normal(size=(len(effects), design.classes))
        shift = np.interp(np.clip(method.accuracy + accuracies, 0.0, HIGHEST), *table)
        against = np.exp(-(odds + shift[:, classes])).astype(np.float32)
        right = rng.random(against.shape, dtype=np.float32) * (1 + against) < 1
        if not method.deviation:  # the first run of a replicate stands for all
            right = right[np.searchsorted(replicate, replicate)]
        cells.append(right.astype(np.float64))
        labels.append(replicate.tolist())
    return cells, labels


def _effects(
    rng: np.random.Generator, design: Design, method: Method, common: Array
) -> tuple[npt.NDArray[np.int64], Array]:
    """The replicate of each run, and its accuracy minus the method's."""
    seeds = method.seeds if isinstance(method.seeds, tuple) else (method.seeds,) * design.replicates
    replicate = np.repeat(np.arange(len(seeds)), seeds)
    count = len(replicate)
    of_seed = rng.normal(size=count) if method.tail == "normal" else rng.standard_t(3, size=count) / np.sqrt(3)
    share, depth = method.collapse
    collapsed = depth * (share - (rng.random(count) < share))
    of_replicate = common + np.hypot(method.tuning, method.draw) * rng.normal(size=design.replicates)
    effects: Array = of_replicate[replicate] + method.deviation * of_seed + collapsed
    return replicate, effects
