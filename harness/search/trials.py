"""The trials of one cell: an Optuna study of its own that stays deterministic if the process is killed.

Every trial is sampled in an Optuna study in memory and then written to the storage in one entry, state RUNNING, with
all its parameters. So a crash leaves either no trial or a complete entry, never half of one. The sampler is seeded from
(seed, cell, trial number), so a resumed study continues as an uninterrupted one would have.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.config.schema import TuneConfig
from harness.design.search_space import Parameter, conditional, configurations, planned_trials, size
from harness.search.asha import PromotionRule, TrialStanding
from harness.search.pruners import make_pruner
from harness.search.rungs import NO_RUNGS, Rungs
from harness.search.samplers import Sampled, Unused, make_sampler, seed_of, startup_trials

DUPLICATE = "duplicate_of"  # user attribute: number of the trial with the same configuration
SKIPPED = "skipped"  # user attribute: why the trial was never run
LEVEL = "level"  # user attribute: index of the rung up to which the trial may run, if it was promoted
FIRST = "first"  # user attribute of the Optuna study: its first configurations, if there are more than the default
# Repeated suggestions in a row after which a trial of a finite space gets an untried configuration.
REPEATS = 3


@dataclass(frozen=True)
class Suggestion:
    """A configuration to try.

    Attributes:
        number: of the trial.
        values: decoded values, by override key.
        duplicate_of: number of an earlier trial with the same configuration, whose result this one gets, too.
    """

    number: int
    values: dict[str, Any]
    duplicate_of: int | None = None


class Trials:
    """The trials of one cell, in an Optuna study of its own.

    Args:
        name: of the Optuna study in the storage.
        space: the tuned keys.
        tune: sampler, pruner, seed and budget.
        maximize: direction of the metric. `tune.objectives` are further objectives, all minimized.
        first: the first configurations, in sampled form: trial 0 is the documented default, then those of a warm start.
        storage: written to after each change in memory.
        rungs: where running trials are compared.
    """

    def __init__(
        self,
        name: str,
        space: Mapping[str, Parameter],
        tune: TuneConfig,
        maximize: bool,
        first: Sequence[dict[str, Any]],
        storage: BaseStorage,
        rungs: Rungs = NO_RUNGS,
    ) -> None:
        self.rungs = rungs
        self._ladder = PromotionRule(rungs.at if tune.pruner == "asha" else (), tune.reduction_factor, maximize)
        self._name, self._space, self._tune, self._maximize = name, space, tune, maximize
        self._conditional, self._size = conditional(space), size(space)
        directions = ["maximize" if maximize else "minimize", *("minimize" for _ in tune.objectives)]
        self._stored = optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True, sampler=Unused()
        )
        attributes = self._stored.user_attrs
        # An extended study keeps the value that it began with.
        self.startup: int = attributes.get("startup_trials") or startup_trials(tune)
        if "startup_trials" not in attributes:
            self._stored.set_user_attr("startup_trials", self.startup)
        self._first: list[dict[str, Any]] = attributes.get(FIRST) or list(first)
        if FIRST not in attributes and len(first) > 1:
            self._stored.set_user_attr(FIRST, self._first)
        storage_ = optuna.create_study(study_name=name, directions=directions, sampler=Unused())._storage
        self._memory = Sampled(name, storage_, Unused(), make_pruner(tune, rungs))
        for trial in self._stored.get_trials(deepcopy=False):
            self._memory.add_trial(trial)
        self._copy_attributes(self._stored, self._memory)
        self._handles: dict[int, optuna.Trial] = {}
        self._keys: dict[tuple[Any, ...], int] = {}
        # Caches of `tried` and `complete`; None after a trial has changed.
        self._tried: int | None = None
        self._best_first: list[FrozenTrial] | None = None
        for trial in self.all():
            self._keys.setdefault(self._key(trial.params), trial.number)

    def all(self) -> list[FrozenTrial]:
        """Return every trial."""
        trials: list[FrozenTrial] = self._memory.get_trials(deepcopy=False)
        return trials

    def suggestion(self, number: int) -> Suggestion:
        """Return the configuration of an existing trial."""
        trial = self.trial(number)
        values = {key: self._space[key].decode(value) for key, value in trial.params.items()}
        return Suggestion(trial.number, values, trial.user_attrs.get(DUPLICATE))

    @property
    def tried(self) -> int:
        """Number of configurations tried or being tried; duplicates and skipped trials do not count."""
        if self._tried is None:
            self._tried = sum(not {DUPLICATE, SKIPPED} & trial.user_attrs.keys() for trial in self.all())
        return self._tried

    @property
    def exhausted(self) -> bool:
        """True if no untried configuration is left: after one trial of an empty space, or all of a finite one."""
        return self._size is not None and len(self._keys) >= self._size

    @property
    def full(self) -> bool:
        """True if no new configuration is tried: the budget of trials or the space is used up."""
        return self.exhausted or (self._tune.trials is not None and self.tried >= self._tune.trials)

    @property
    def over(self) -> bool:
        """Whether, besides, no paused trial can be promoted at present."""
        return self.full and not self._promotable()

    @property
    def planned(self) -> int | None:
        """Number of configurations that this cell tries in total; None: as many as other limits allow."""
        return planned_trials(self._space, self._tune)

    @property
    def endless(self) -> bool:
        """True if only a time limit ends the search."""
        return self.planned is None and not self.full

    @property
    def left(self) -> int:
        """Number of runs still to start: promotions and new configurations. Without `planned`, promotions only."""
        return self.promotable + (0 if self.full else max(0, (self.planned or 0) - self.tried))

    @property
    def promotable(self) -> int:
        """Number of paused trials that are promoted before a new one is tried."""
        return len(self._promotable())

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
        going, left = self.promotable, self.left
        # Duplicates count: the sampler learns from them like from any other trial.
        return going + min(left - going, max(self.startup - len(self.all()), 0 if self._under_way else 1))

    @property
    def _under_way(self) -> bool:
        """True if any trial is still running."""
        return any(not trial.state.is_finished() and not self._ladder.paused(_standing(trial)) for trial in self.all())

    @property
    def settled(self) -> bool:
        """True if no paused trial has to be continued before the best one can be confirmed."""
        return self._last() is None

    @property
    def is_finalist(self) -> bool:
        """True if this cell's best configuration is confirmed, as far as is known; always outside joint studies."""
        return True

    @property
    def group(self) -> tuple[str, ...]:
        """Ids of the cells that share a budget with this one, itself included; empty if there are none."""
        return ()

    def watch(self, gave_up: Callable[[], bool]) -> None:
        """Set the function that returns whether the cell was given up; used by joint studies only."""

    def close(self) -> None:
        """End the search for now; used by joint studies only."""

    def ask(self) -> Suggestion:
        """Suggest the next configuration and store it. A paused trial that is promoted comes before a new one."""
        return self._promote(waiting[0]) if (waiting := self._promotable()) else self._ask()

    def last(self) -> Suggestion | None:
        """Promote a paused trial after all were tried, because none is complete with a usable score.

        None if one is, while others run, or if the trial belongs to another cell.
        """
        return None if (number := self._last()) is None else self._promote(number)

    def limit(self, number: int) -> int | None:
        """Return the amount of the resource up to which a trial may run; None if to its end."""
        return self._ladder.limit(_standing(self.trial(number)))

    def paused(self) -> list[int]:
        """Return the numbers of the trials that are paused at their limit."""
        return [standing.number for standing in self._standings() if self._ladder.paused(standing)]

    def _standings(self) -> list[TrialStanding]:
        own = (trial for trial in self.all() if DUPLICATE not in trial.user_attrs and SKIPPED not in trial.user_attrs)
        return [_standing(trial) for trial in own] if self._ladder.rungs else []

    def _promotable(self) -> list[int]:
        return self._ladder.promotable(self._standings())

    def _last(self) -> int | None:
        return None if self.complete() else self._ladder.last(self._standings())

    def _promote(self, number: int) -> Suggestion:
        self._note(number, LEVEL, _standing(self.trial(number)).level + 1)
        return self.suggestion(number)

    def _note(self, number: int, name: str, value: Any) -> None:
        """Store a user attribute of a trial."""
        for study in (self._memory, self._stored):
            trial_id = study.get_trials(deepcopy=False)[number]._trial_id
            study._storage.set_trial_user_attr(trial_id, name, value)

    def pending(self) -> Suggestion | None:
        """Return a configuration that was suggested for this cell when another cell asked; joint studies only."""
        return None

    def _ask(self) -> Suggestion:
        number = len(self.all())
        if (fixed := self._fixed(number)) is not None:
            self._memory.enqueue_trial(fixed)
        self._memory.sampler = make_sampler(
            self._tune,
            seed_of(self._tune.seed, self._name, number),
            self.startup,
            seed_of(self._tune.seed, self._name, 0),
            self._conditional,
        )
        self._memory.judged = frozenset(trial.number for trial in self._standings() if trial.values and not trial.over)
        handle = self._sample()
        self._memory.sampler, self._memory.judged = Unused(), frozenset()
        distributions = {key: self._space[key].distribution for key in handle.params}
        key = self._key(handle.params)
        attributes = {DUPLICATE: self._keys[key]} if key in self._keys else {}
        for name, value in attributes.items():
            handle.set_user_attr(name, value)
        self._handles[number] = handle
        self._tried = None
        self._keys.setdefault(key, number)
        self._copy_attributes(self._memory, self._stored)
        self._stored.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=handle.params,
                distributions=distributions,
                user_attrs=attributes,
                # The evolutionary sampler stores the generation of each trial.
                system_attrs=dict(self.all()[number].system_attrs) if self._tune.sampler == "nsga2" else None,
            )
        )
        return self.suggestion(number)

    def _sample(self) -> optuna.Trial:
        if not self._conditional:
            return self._memory.ask({key: entry.distribution for key, entry in self._space.items()})
        handle = self._memory.ask()
        values: dict[str, Any] = {}
        for key, entry in self._space.items():
            if entry.active(values):
                values[key] = handle._suggest(key, entry.distribution)
        return handle

    def _fixed(self, number: int) -> dict[str, Any] | None:
        """Return the values that are fixed for a trial, all or some of its keys; None leaves all to the sampler."""
        if number < len(self._first):
            return self._first[number]
        if self._tune.sampler == "grid" or self._repeats() >= REPEATS:
            return self._unseen(self._space)
        return None

    def _unseen(self, space: Mapping[str, Parameter]) -> dict[str, Any]:
        """Return an untried configuration of a finite space, in an order that depends on the seed alone."""
        grid = list(configurations(space))
        random.Random(seed_of(self._tune.seed, self._name, 0)).shuffle(grid)
        return next(values for values in grid if self._key(values) not in self._keys)

    def _repeats(self) -> int:
        """Return how many of the latest suggestions in a row were duplicates; 0 for an infinite space."""
        if self._size is None:
            return 0
        return sum(1 for _ in itertools.takewhile(lambda trial: DUPLICATE in trial.user_attrs, reversed(self.all())))

    @staticmethod
    def _copy_attributes(source: optuna.Study, target: optuna.Study) -> None:
        """Copy what a sampler stores about the whole study (QMCSampler: its position in the sequence)."""
        old = target._storage.get_study_system_attrs(target._study_id)
        for key, value in source._storage.get_study_system_attrs(source._study_id).items():
            if old.get(key) != value:
                target._storage.set_study_system_attr(target._study_id, key, value)

    def tell(
        self,
        number: int,
        value: float | None,
        pruned: bool = False,
        costs: Sequence[float] = (),
        excess: Mapping[str, float] | None = None,
    ) -> None:
        """Tell Optuna the result of a trial.

        Args:
            number: of the trial.
            value: its validation metric; None for a failure.
            pruned: whether it was ended early.
            costs: the values of `tune.objectives`, in that order.
            excess: by constraint, the excess over its limit; 0 or less satisfies it.
        """
        values = None if value is None else [value, *costs]
        if values is not None and not all(map(math.isfinite, values)):
            values = None
        finished = TrialState.FAIL if values is None else TrialState.COMPLETE
        state = TrialState.PRUNED if pruned else finished
        for study in (self._memory, self._stored):
            for name, amount in (excess or {}).items():
                optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id).set_constraint(name, amount)
            study.tell(number, None if values is None or pruned else values, state=state)
        self._handles.pop(number, None)
        self._tried = self._best_first = None

    def report(self, number: int, step: int, value: float) -> None:
        """Report an intermediate score; one that was reported for the same step before is kept."""
        if step not in (known := self.all()[number].intermediate_values):
            if known:  # pruners store state at each step; the decision is ignored, as other trials may report first
                self.should_prune(number)
            self._handle(number).report(value, step)
            stored = self._stored.get_trials(deepcopy=False)[number]
            self._stored._storage.set_trial_intermediate_value(stored._trial_id, step, value)

    def should_prune(self, number: int) -> bool:
        """Return whether a trial should be ended. What the pruner stores of it, such as its rung, is written, too."""
        should_prune = bool(self._handle(number).should_prune())
        stored = self._stored.get_trials(deepcopy=False)[number]
        for key, value in self.all()[number].system_attrs.items():
            if stored.system_attrs.get(key) != value:
                self._stored._storage.set_trial_system_attr(stored._trial_id, key, value)
        return should_prune

    def _handle(self, number: int) -> optuna.Trial:
        if number not in self._handles:
            self._handles[number] = optuna.Trial(self._memory, self.all()[number]._trial_id)
        return self._handles[number]

    def told(self, number: int) -> bool:
        """Return whether the trial has ended."""
        return bool(self.trial(number).state.is_finished())

    def complete(self) -> list[FrozenTrial]:
        """Return the complete trials that satisfy every constraint, best first; ties go to the earlier trial."""
        if self._best_first is not None:
            return self._best_first
        done = [
            trial
            for trial in self.all()
            if trial.state == TrialState.COMPLETE
            and DUPLICATE not in trial.user_attrs
            and all(amount <= 0 for amount in trial.constraints.values())
        ]
        sign = -1 if self._maximize else 1
        self._best_first = sorted(done, key=lambda trial: (sign * trial.values[0], trial.number))
        return self._best_first

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial by its number."""
        return self.all()[number]

    @staticmethod
    def _key(params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted(params.items()))


def _standing(trial: FrozenTrial) -> TrialStanding:
    return TrialStanding(
        trial.number, trial.intermediate_values, int(trial.user_attrs.get(LEVEL, 0)), trial.state.is_finished()
    )
