"""The samplers, one made for every trial, and common random numbers.

The point of a key in a trial is a function of (tune.seed, key, trial number) alone: not of the study's name, of the
cell, of its other keys, or of other cells. Each cell maps the point through its own distribution of the key. So cells
differ by their methods and not by the luck of their draws, and another cell in the command changes no trial (common
random numbers; Law 2015, "Simulation Modeling and Analysis", section 11.2).
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.config.schema import TuneConfig
from harness.design.search_space import Parameter, conditional

BITS = 32  # of a point


def make_sampler(
    tune: TuneConfig, number: int, startup: int, space: Mapping[str, Parameter] | None = None
) -> optuna.samplers.BaseSampler:
    """Make the sampler of one trial; it depends on `tune.seed` and on the trial's number, not on a name.

    Args:
        tune: the name of the sampler, and its seed.
        number: of the trial.
        startup: see `startup_trials`.
        space: the tuned keys. If it is conditional, TPE models keys jointly only if the same trials have them.
    """
    # `group` has been experimental for years.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if tune.sampler == "grid":
        return Unused()  # every trial is fixed by `TriedConfigurations.first_untried`
    seed, space = seed_of(tune.seed, number), space or {}
    grouped = {"multivariate": True, "group": True} if conditional(space) else {}
    models: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup),
        # Optuna's default generation of 50 exceeds most budgets.
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, startup)),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, **grouped),
    }
    model = models[tune.sampler]() if tune.sampler in models else None
    keys = {name: entry.key for name, entry in space.items()}
    return CommonRandomSampler(tune.seed, keys, model, quasi_random=tune.sampler == "qmc")


def startup_trials(tune: TuneConfig) -> int:
    """Return the number of random trials before a model-based sampler starts.

    Unless `tune.startup_trials` sets it, a third of the budget, at least 4 and at most 10, Optuna's default.
    """
    if tune.startup_trials is not None:
        return tune.startup_trials
    return min(10, max(4, (tune.trials or 30) // 3))


class Unused(optuna.samplers.RandomSampler):  # type: ignore[misc] # Optuna publishes no types here
    """Placeholder where no trial is sampled; seeded, so that making a study draws no other random numbers."""

    def __init__(self) -> None:
        super().__init__(seed=0)


def seed_of(seed: int, *names: int | str) -> int:
    """Return a 32-bit seed that is a function of a seed and names."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()[:4])


def point(seed: int, key: str, number: int) -> float:
    """Return the random point of a key in a trial, uniform in (0, 1)."""
    return (seed_of(seed, key, number) + 0.5) / (1 << BITS)


def quasi_random_point(seed: int, key: str, number: int) -> float:
    """Return the quasi-random point of a key in a trial, in (0, 1).

    Each key has a van der Corput sequence of its own, scrambled and shuffled in the way of Owen: the first 2^k trials
    meet each of 2^k equal parts of (0, 1) once, and keys are independent of one another (padding; Burley 2020,
    "Practical Hash-based Owen Scrambling", Journal of Computer Graphics Techniques 9). One sequence with a dimension
    for each key of a cell would give a key other points in cells with other keys.
    """
    place = _scrambled(number, f"{seed}/{key}/order")
    reversed_bits = int(f"{place:0{BITS}b}"[::-1], 2)
    return (_scrambled(reversed_bits, f"{seed}/{key}/value") + 0.5) / (1 << BITS)


def _scrambled(number: int, name: str) -> int:
    """Flip each bit of a number or not, decided by the bits above it (nested uniform scrambling)."""
    bits = f"{number:0{BITS}b}"
    flips = (hashlib.sha256(f"{name}/{bits[:place]}".encode()).digest()[0] & 1 for place in range(BITS))
    return int("".join(str(int(bit) ^ flip) for bit, flip in zip(bits, flips, strict=True)), 2)


def quantile(distribution: BaseDistribution, point: float) -> Any:
    """Return the value of a distribution at a point in (0, 1), in sampled form."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(point * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        whole = isinstance(distribution, IntDistribution)
        # An integer owns the interval of half a unit around it, as in Optuna's random sampler.
        ends = (low - 0.5, high + 0.5) if whole else (low, high)
        value = math.exp(math.log(ends[0]) + point * (math.log(ends[1]) - math.log(ends[0])))
        return min(max(round(value) if whole else value, low), high)
    if step is None:
        return low + point * (high - low)
    index = int(point * (round((high - low) / step) + 1))
    return min(low + index * step, high)


class CommonRandomSampler(BaseSampler):  # type: ignore[misc] # Optuna publishes no types here
    """Gives the points of `point` wherever a sampler would draw at random: in its first trials, or in all.

    Args:
        seed: `tune.seed`.
        keys: by parameter, the key whose points it takes; a parameter that is not named takes those of its own name.
        model: the sampler whose values are taken where it has any; None for none.
        quasi_random: whether the points are those of `quasi_random_point`.
    """

    def __init__(
        self, seed: int, keys: Mapping[str, str], model: BaseSampler | None = None, quasi_random: bool = False
    ) -> None:
        self._seed, self._keys, self._model = seed, keys, model
        self._point = quasi_random_point if quasi_random else point
        self._modeled = False  # whether the model gave values for the trial that is sampled

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what the model samples at once."""
        return {} if self._model is None else dict(self._model.infer_relative_search_space(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the model's values; {} while it has too few results and would draw at random."""
        if self._model is None:
            return {}
        values: dict[str, Any] = self._model.sample_relative(study, trial, search_space)
        self._modeled = bool(values)
        return values

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value at the key's point, or the model's if it gave values for other keys of the trial."""
        if self._modeled and self._model is not None:
            return self._model.sample_independent(study, trial, param_name, param_distribution)
        key = self._keys.get(param_name, param_name)
        return quantile(param_distribution, self._point(self._seed, key, trial.number))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on to the model."""
        if self._model is not None:
            self._model.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass on to the model."""
        if self._model is not None:
            self._model.after_trial(study, trial, state, values)
