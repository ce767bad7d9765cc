"""The configurations of an Optuna study that were tried, and how many trials are left and may start."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.schema import TuneConfig
from harness.search.promotion import Promotions
from harness.search.storage import MirroredStudy
from harness.search.trial_source import DUPLICATE, SKIPPED


class TriedConfigurations:
    """The configurations of a search space that were tried, in sampled form.

    Args:
        size: number of configurations of the space; None if it is infinite.
        seed: decides the order of `first_untried`.
    """

    def __init__(self, size: int | None, seed: int) -> None:
        self.size, self._seed = size, seed
        self._numbers: dict[tuple[Any, ...], int] = {}  # by configuration, the first trial that has it

    @property
    def exhausted(self) -> bool:
        """True if all configurations of a finite space were tried."""
        return self.size is not None and len(self._numbers) >= self.size

    def add(self, params: Mapping[str, Any], number: int) -> int | None:
        """Add the configuration of a trial; return the number of an earlier trial that has it, or None."""
        first = self._numbers.setdefault(_key(params), number)
        return None if first == number else first

    def first_untried(self, grid: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Return an untried configuration of a finite space, in an order that depends on the seed alone."""
        shuffled = list(grid)
        random.Random(self._seed).shuffle(shuffled)
        return next(values for values in shuffled if _key(values) not in self._numbers)

    def count_by(self, name: str) -> Counter[Any]:
        """Return how many configurations were tried for each value of a parameter that all have."""
        return Counter(dict(key)[name] for key in self._numbers)


def _key(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))


class TrialQuota:
    """The quota of an Optuna study: its configured number of trials, or all configurations of a finite space.

    Args:
        study: the Optuna study.
        configurations: those that were tried.
        promotions: of its paused trials.
        tune: the sampler and the number of trials.
        planned: number of configurations that the study tries in total; None: as many as other limits allow.
        startup: number of trials that a model-based sampler draws at random.

    Attributes:
        closed: whether the study's budget ended the search.
    """

    def __init__(
        self,
        study: MirroredStudy,
        configurations: TriedConfigurations,
        promotions: Promotions,
        tune: TuneConfig,
        planned: int | None,
        startup: int,
    ) -> None:
        self._study, self._configurations, self._promotions = study, configurations, promotions
        self._tune, self._startup = tune, startup
        self.planned = planned
        self.closed = False
        self._counted: tuple[int, int] = (-1, 0)  # version of the study, and `tried` then

    @property
    def tried(self) -> int:
        """Number of configurations tried or being tried; duplicates and skipped trials do not count."""
        version = self._study.version
        if self._counted[0] != version:
            trials = self._study.trials()
            self._counted = version, sum(not {DUPLICATE, SKIPPED} & trial.user_attrs.keys() for trial in trials)
        return self._counted[1]

    @property
    def exhausted(self) -> bool:
        """True if no untried configuration is left: after one trial of an empty space, or all of a finite one."""
        return self._configurations.exhausted

    @property
    def full(self) -> bool:
        """True if no new configuration is tried: the budget of trials or the space is used up."""
        return self.exhausted or (self._tune.trials is not None and self.tried >= self._tune.trials)

    @property
    def over(self) -> bool:
        """True if, besides, no paused trial can be promoted at present."""
        return self.full and not self._promotions.promotable()

    @property
    def endless(self) -> bool:
        """True if only a time limit ends the search."""
        return self.planned is None and not self.full

    @property
    def left(self) -> int:
        """Number of runs still to start: promotions and new configurations. Without `planned`, promotions only."""
        return len(self._promotions.promotable()) + (0 if self.full else max(0, (self.planned or 0) - self.tried))

    @property
    def startable_now(self) -> int:
        """Estimated number of trials that could start now, whatever the results of others."""
        return self.left

    @property
    def startable_without_feedback(self) -> int:
        """Number of trials that could start now without the sampler missing the results of earlier ones.

        A model-based sampler draws its first trials at random, so those can start at once; each later one waits for the
        trial before it.
        """
        if self._tune.sampler in ("random", "qmc", "grid"):
            return self.startable_now
        promotable, left = len(self._promotions.promotable()), self.left
        # Duplicates count: the sampler learns from them like from any other trial.
        random_trials = self._startup - len(self._study.trials())
        return promotable + min(left - promotable, max(random_trials, 0 if self._promotions.any_running else 1))

    def close(self) -> None:
        """End the search for now: the rest of the study's budget is for confirmation."""
        self.closed = True
