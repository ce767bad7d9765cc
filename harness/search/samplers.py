"""The samplers; a new one is made for every trial."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable, Container

import optuna
from optuna.trial import FrozenTrial, TrialState

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
        "grid": Unused,  # every trial is fixed by `Trials._unseen`
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


class Sampled(optuna.Study):  # type: ignore[misc] # Optuna publishes no types here
    """An Optuna study that shows its sampler unfinished trials with scores at rungs as pruned at their last rung.

    TPE learns from pruned trials. Otherwise it would rank all paused and promoted trials worst, as it does with running
    trials, and draw at random until some are complete. gp and nsga2 learn from complete trials only and would draw at
    random anyway, so `harness.config.validation.check_search` refuses them together with pauses.

    Attributes:
        judged: numbers of the trials that are shown as pruned; set only while a trial is sampled.
    """

    judged: frozenset[int] = frozenset()

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        if not self.judged:
            return list(super()._get_trials(deepcopy, states, use_cache))
        seen = [
            _ended(trial) if trial.number in self.judged else trial
            for trial in super()._get_trials(deepcopy, None, use_cache)
        ]
        return [trial for trial in seen if states is None or trial.state in states]


def _ended(trial: FrozenTrial) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state, shown.value = TrialState.PRUNED, trial.intermediate_values[trial.last_step]
    return shown


class Unused(optuna.samplers.RandomSampler):  # type: ignore[misc] # Optuna publishes no types here
    """Placeholder where no trial is sampled; seeded, so that making a study draws no other random numbers."""

    def __init__(self) -> None:
        super().__init__(seed=0)
