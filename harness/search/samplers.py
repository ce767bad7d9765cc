"""The samplers; a new one is made for every trial."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import optuna

from harness.config.schema import TuneConfig
from harness.design.search_space import Parameter, conditional
from harness.search.common_random import CommonRandomSampler, seed_of


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
