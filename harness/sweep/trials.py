"""The trials of one cell: its own Optuna study, deterministic whatever happens to the process.

Every trial is sampled in a study in memory and then written to the storage in one entry, state RUNNING, with all its
parameters. So a crash leaves either no trial or a whole one, never half of one; and since the sampler is seeded from
(seed, cell, trial number), a resumed study goes on as the uninterrupted one would have.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.config import TuneConfig
from harness.errors import HarnessError
from harness.sweep.space import Parameter, size

DUPLICATE = "duplicate_of"  # user attribute: number of the trial with the same configuration
# Repeated suggestions in a row after which a sampler on a finite space is handed a configuration that is new.
REPEATS = 3


@dataclass(frozen=True)
class Suggestion:
    """A configuration to try.

    Attributes:
        number: of the trial.
        values: decoded, by override key.
        duplicate_of: number of an earlier trial with the same configuration, whose value answers this one, too.
    """

    number: int
    values: dict[str, Any]
    duplicate_of: int | None = None


class Trials:
    """One cell's study.

    Args:
        name: of the Optuna study in the storage.
        space: the tuned keys.
        tune: sampler, pruner, seed and budget.
        maximize: direction.
        defaults: what trial 0 tries, sampled form; None lets the sampler choose.
        storage: written to after each step in memory.
    """

    def __init__(
        self,
        name: str,
        space: Mapping[str, Parameter],
        tune: TuneConfig,
        maximize: bool,
        defaults: dict[str, Any] | None,
        storage: BaseStorage,
    ) -> None:
        self._name, self._space, self._tune, self._maximize, self._defaults = name, space, tune, maximize, defaults
        direction = "maximize" if maximize else "minimize"
        self._stored = optuna.create_study(
            study_name=name, storage=storage, direction=direction, load_if_exists=True, sampler=_Unused()
        )
        attributes = self._stored.user_attrs
        # An extended study keeps what it was begun with.
        self.startup: int = attributes.get("startup_trials") or startup_trials(tune)
        if "startup_trials" not in attributes:
            self._stored.set_user_attr("startup_trials", self.startup)
        self._memory = optuna.create_study(direction=direction, pruner=_pruner(tune), sampler=_Unused())
        for trial in self._stored.get_trials(deepcopy=False):
            self._memory.add_trial(trial)
        self._copy_attributes(self._stored, self._memory)
        self._handles: dict[int, optuna.Trial] = {}
        self._keys: dict[tuple[Any, ...], int] = {}
        for trial in self.all():
            self._keys.setdefault(self._key(trial.params), trial.number)

    def all(self) -> list[FrozenTrial]:
        """Every trial."""
        trials: list[FrozenTrial] = self._memory.get_trials(deepcopy=False)
        return trials

    def running(self) -> list[Suggestion]:
        """Trials that were asked and not told: what a resumed study must settle first."""
        return [self._suggestion(trial) for trial in self.all() if trial.state == TrialState.RUNNING]

    def suggestion(self, number: int) -> Suggestion:
        """The configuration of a trial that exists."""
        return self._suggestion(self.all()[number])

    @property
    def tried(self) -> int:
        """Configurations tried or being tried; duplicates cost nothing and do not count."""
        return sum(DUPLICATE not in trial.user_attrs for trial in self.all())

    @property
    def exhausted(self) -> bool:
        """Whether nothing new can be suggested: an empty space after one trial, a finite one when all was tried."""
        total = size(self._space)
        return total is not None and len(self._keys) >= total

    def ask(self) -> Suggestion:
        """Suggest the next configuration and write it down."""
        number = len(self.all())
        distributions = {key: entry.distribution for key, entry in self._space.items()}
        if number == 0 and self._defaults is not None:
            self._memory.enqueue_trial(self._defaults)
        elif self._tune.sampler == "grid" or self._repeats() >= REPEATS:
            self._memory.enqueue_trial(self._unseen())
        self._memory.sampler = make_sampler(
            self._tune, _seed(self._tune.seed, self._name, number), self.startup, _seed(self._tune.seed, self._name, 0)
        )
        handle = self._memory.ask(distributions)
        self._memory.sampler = _Unused()
        key = self._key(handle.params)
        attributes = {DUPLICATE: self._keys[key]} if key in self._keys else {}
        for name, value in attributes.items():
            handle.set_user_attr(name, value)
        self._handles[number] = handle
        self._keys.setdefault(key, number)
        self._copy_attributes(self._memory, self._stored)
        self._stored.add_trial(
            create_trial(
                state=TrialState.RUNNING, params=handle.params, distributions=distributions, user_attrs=attributes
            )
        )
        return self.suggestion(number)

    def _unseen(self) -> dict[str, Any]:
        """A configuration of a finite space that was not suggested yet, in an order that only the seed decides."""
        keys = sorted(self._space)
        grid = list(itertools.product(*(self._space[key].grid() for key in keys)))
        random.Random(_seed(self._tune.seed, self._name, 0)).shuffle(grid)
        configurations = (dict(zip(keys, values, strict=True)) for values in grid)
        return next(values for values in configurations if self._key(values) not in self._keys)

    def _repeats(self) -> int:
        """How many suggestions in a row, up to the last, repeated an earlier one; 0 in a space that has no end."""
        if size(self._space) is None:
            return 0
        return sum(1 for _ in itertools.takewhile(lambda trial: DUPLICATE in trial.user_attrs, reversed(self.all())))

    @staticmethod
    def _copy_attributes(source: optuna.Study, target: optuna.Study) -> None:
        """Carry over what a sampler notes about the whole study (the quasi-random one, its place in the sequence)."""
        old = target._storage.get_study_system_attrs(target._study_id)
        for key, value in source._storage.get_study_system_attrs(source._study_id).items():
            if old.get(key) != value:
                target._storage.set_study_system_attr(target._study_id, key, value)

    def tell(self, number: int, value: float | None, pruned: bool = False) -> None:
        """Say how a trial ended: its validation metric, None for a failure."""
        if value is not None and not math.isfinite(value):
            value = None
        finished = TrialState.FAIL if value is None else TrialState.COMPLETE
        state = TrialState.PRUNED if pruned else finished
        for study in (self._memory, self._stored):
            study.tell(number, None if value is None or pruned else value, state=state)

    def report(self, number: int, step: int, value: float) -> bool:
        """Note a value on the way; return whether the trial should be pruned."""
        handle = self._handles.get(number) or optuna.Trial(self._memory, self.all()[number]._trial_id)
        self._handles[number] = handle
        if step not in self.all()[number].intermediate_values:
            handle.report(value, step)
            stored = self._stored.get_trials(deepcopy=False)[number]
            self._stored._storage.set_trial_intermediate_value(stored._trial_id, step, value)
        return bool(handle.should_prune())

    def told(self, number: int) -> bool:
        """Whether the trial has ended."""
        return bool(self.all()[number].state.is_finished())

    def complete(self) -> list[FrozenTrial]:
        """Trials with a value, best first; among equals the earliest."""
        done = [
            trial for trial in self.all() if trial.state == TrialState.COMPLETE and DUPLICATE not in trial.user_attrs
        ]
        return sorted(done, key=lambda trial: (-trial.value if self._maximize else trial.value, trial.number))

    def _suggestion(self, trial: FrozenTrial) -> Suggestion:
        values = {key: self._space[key].decode(value) for key, value in trial.params.items()}
        return Suggestion(trial.number, values, trial.user_attrs.get(DUPLICATE))

    @staticmethod
    def _key(params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted(params.items()))


def planned_trials(space: Mapping[str, Parameter], tune: TuneConfig) -> int | None:
    """Configurations that a cell tries; None: as many as its seconds allow."""
    finite, trials = size(space), tune.trials
    return trials if finite is None else finite if trials is None else min(trials, finite)


def startup_trials(tune: TuneConfig) -> int:
    """Trials before a model-based sampler starts: a third of the budget, at least 4 and at most Optuna's own 10."""
    if tune.startup_trials is not None:
        return tune.startup_trials
    return min(10, max(4, (tune.trials or 30) // 3))


def make_sampler(tune: TuneConfig, seed: int, startup: int, study_seed: int) -> optuna.samplers.BaseSampler:
    """Make the sampler of one trial.

    Args:
        seed: of this trial.
        startup: see `startup_trials`.
        study_seed: of the cell. A quasi-random sequence must be the same one for all trials to cover the space.
    """
    if tune.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if tune.sampler == "qmc":
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # it has been one since 2021
        return optuna.samplers.QMCSampler(seed=study_seed, scramble=True, warn_independent_sampling=False)
    if tune.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
    if tune.sampler == "grid":  # every trial is fixed by `Trials._unseen`
        return _Unused()
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)


def check_sampler(tune: TuneConfig, cell: str, space: Mapping[str, Parameter]) -> None:
    """Refuse a space that the sampler cannot search.

    Raises:
        HarnessError: names the keys in the way.
    """
    if tune.sampler == "grid":
        endless = [entry for entry in space.values() if entry.size is None]
        if endless:
            named = ", ".join(f"{entry.key}={entry.sweep}" for entry in endless)
            raise HarnessError(
                f"tune.sampler=grid needs a finite space, but in {cell} these are continuous: {named}. Give choices, "
                f"e.g. {endless[0].key}=choice(1e-4,3e-4,1e-3), or another sampler (tpe, gp, random, qmc)."
            )


def _pruner(tune: TuneConfig) -> optuna.pruners.BasePruner:
    if tune.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=startup_trials(tune))
    return optuna.pruners.NopPruner()


def _seed(seed: int, name: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{number}".encode()).digest()[:4])


class _Unused(optuna.samplers.RandomSampler):  # type: ignore[misc] # Optuna publishes no types here
    """Stands where no trial is sampled, so that making a study draws no random numbers from elsewhere."""

    def __init__(self) -> None:
        super().__init__(seed=0)
