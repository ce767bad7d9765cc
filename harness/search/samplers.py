"""The samplers; a new one is made for every trial."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable

import optuna

from harness.config.schema import TuneConfig


def make_sampler(
    tune: TuneConfig, seed: int, startup: int, study_seed: int, conditional: bool = False
) -> optuna.samplers.BaseSampler:
    """Make the sampler of one trial.

    Args:
        tune: the name of the sampler.
        seed: of this trial.
        startup: see `startup_trials`.
        study_seed: of the cell. All trials must draw from the same quasi-random sequence to cover the space.
        conditional: whether the space is conditional. TPE then models keys jointly only if the same trials have them.
    """
    # QMCSampler and `group` have been experimental for years.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if conditional and tune.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True)
    kinds: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "qmc": lambda: optuna.samplers.QMCSampler(seed=study_seed, scramble=True, warn_independent_sampling=False),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup),
        "grid": Unused,  # every trial is fixed by `TriedConfigurations.next_untried`
        # Optuna's default generation of 50 exceeds most budgets.
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, startup)),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
    }
    return kinds[tune.sampler]()


def startup_trials(tune: TuneConfig) -> int:
    """Return the number of random trials before a model-based sampler starts.

    Unless `tune.startup_trials` sets it, a third of the budget, at least 4 and at most 10, Optuna's default.
    """
    if tune.startup_trials is not None:
        return tune.startup_trials
    return min(10, max(4, (tune.trials or 30) // 3))


def seed_of(seed: int, name: str, number: int) -> int:
    """Return the seed of a trial, a function of its identity alone and not of earlier trials."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{number}".encode()).digest()[:4])


class Unused(optuna.samplers.RandomSampler):  # type: ignore[misc] # Optuna publishes no types here
    """Placeholder where no trial is sampled; seeded, so that making a study draws no other random numbers."""

    def __init__(self) -> None:
        super().__init__(seed=0)
