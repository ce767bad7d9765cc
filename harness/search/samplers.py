"""The samplers of a study, each made anew for every trial."""

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
        seed: of this trial.
        startup: see `startup_trials`.
        study_seed: of the cell. A quasi-random sequence must be the same one for all trials to cover the space.
        conditional: whether the space is. TPE then models keys together only where the same trials have them.
    """
    warnings.filterwarnings(
        "ignore", category=optuna.exceptions.ExperimentalWarning
    )  # qmc and `group` have been for years
    if conditional and tune.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True)
    kinds: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "qmc": lambda: optuna.samplers.QMCSampler(seed=study_seed, scramble=True, warn_independent_sampling=False),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup),
        "grid": Unused,  # every trial is fixed by `Trials._unseen`
        # Optuna's generations of 50 are more than most budgets.
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, startup)),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
    }
    return kinds[tune.sampler]()


def startup_trials(tune: TuneConfig) -> int:
    """Trials before a model-based sampler starts: a third of the budget, at least 4 and at most Optuna's own 10."""
    if tune.startup_trials is not None:
        return tune.startup_trials
    return min(10, max(4, (tune.trials or 30) // 3))


def seed_of(seed: int, name: str, number: int) -> int:
    """The seed of a trial: a function of what it is, never of what came before."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{number}".encode()).digest()[:4])


class Sampled(optuna.Study):  # type: ignore[misc] # Optuna publishes no types here
    """A study whose sampler sees trials that pause and go on as pruned at their last rung.

    TPE learns from pruned trials. Otherwise it would take all of these for the worst, as it takes trials under way, and
    draw at random until some have come to their end. That is what gp and nsga2 would do all the same, for they learn
    from complete trials alone; so `harness.config.validation.check_search` refuses them with pauses.

    Attributes:
        judged: numbers of the trials that are shown so; set only while a trial is sampled.
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
    """Stands where no trial is sampled, so that making a study draws no random numbers from elsewhere."""

    def __init__(self) -> None:
        super().__init__(seed=0)
