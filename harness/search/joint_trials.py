"""The trials of a joint study, in which the method is a parameter."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from harness.config.schema import TuneConfig
from harness.design.cells import Cell
from harness.design.search_space import Parameter, configurations, planned_trials, size
from harness.search.quota import TrialQuota
from harness.search.rungs import NO_RUNGS, Rungs
from harness.search.samplers import seed_of
from harness.search.trial_source import DUPLICATE, SKIPPED, Suggestion
from harness.search.trials import Trials

METHOD = "method"  # the parameter of a joint study that selects the method, and so the cell


def own_key(cell: Cell, key: str) -> str:
    """Return the name of a cell's key in the joint study, where each method has its own keys."""
    return f"{cell.method}: {key}"


def method_of(trial: FrozenTrial) -> str:
    """Return the method of a trial of a joint study."""
    return str(trial.params[METHOD])


class JointTrials(Trials):
    """The trials of a joint study over the methods of a task and model.

    Args:
        name: of the Optuna study.
        cells: one for each method.
        tune: see `Trials`; `trials` is the budget of all cells together.
        first: the configurations of each cell's first trials, the default before others.
        storage, rungs: see `Trials`.
        given_up: by method, returns whether its cell was given up.

    Attributes:
        cells: by method.
    """

    quota: JointQuota

    def __init__(
        self,
        name: str,
        cells: Sequence[Cell],
        tune: TuneConfig,
        first: Sequence[Sequence[dict[str, Any]]],
        storage: BaseStorage,
        rungs: Rungs = NO_RUNGS,
        given_up: Mapping[str, Callable[[], bool]] | None = None,
    ) -> None:
        self.cells = {cell.method: cell for cell in cells}
        self._given_up = given_up or {}
        self._unclaimed: Suggestion | None = None
        super().__init__(
            name, _joint_space(cells), tune, cells[0].maximize, _first_in_turn(cells, first), storage, rungs
        )

    def _make_quota(self) -> JointQuota:
        planned = planned_trials(self._space, self._tune)
        return JointQuota(self, self._study, self._tried, self._promotions, self._tune, planned, self.startup)

    @property
    def outcome_known(self) -> bool:
        """True if every trial has ended or stays paused, except those that the budget did not reach.

        Duplicates are ignored: they get the result of the trial that they repeat.
        """
        stays = {*self.paused(), *self._promotions.left_out}
        return (
            self._unclaimed is None
            and all(
                trial.state.is_finished() or DUPLICATE in trial.user_attrs or trial.number in stays
                for trial in self.all()
            )
            and super().outcome_known
        )

    @property
    def has_unclaimed(self) -> bool:
        """True if a configuration was suggested that its cell has not taken yet."""
        return self._unclaimed is not None

    def unclaimed_of(self, method: str) -> int | None:
        """Return the number of the suggested trial that its cell has not taken yet, if it is of this method."""
        found = self._unclaimed
        return None if found is None or method_of(self.trial(found.number)) != method else found.number

    def set_aside(self) -> None:
        """Set the unclaimed suggestion aside: it keeps the state RUNNING in the storage, for a larger budget."""
        if self._unclaimed is not None:
            self._promotions.left_out.add(self._unclaimed.number)
            self._unclaimed = None

    def ask_for(self, method: str) -> Suggestion | None:
        """Suggest the next configuration if it is for this method; otherwise keep it for its cell and return None."""
        while self._unclaimed is None and not self.quota.over:
            suggestion = self.ask()
            if self.is_given_up(method_of(self.trial(suggestion.number))):
                self._skip(suggestion.number, "The method was given up.")
            else:
                self._unclaimed = suggestion
        return self.claim(method)

    def claim(self, method: str) -> Suggestion | None:
        """Return the unclaimed suggestion if it is for this method; otherwise None."""
        if self.unclaimed_of(method) is None:
            return None
        suggestion, self._unclaimed = self._unclaimed, None
        return suggestion

    def promote_best_paused_of(self, method: str) -> Suggestion | None:
        """See `promote_best_paused`; None, too, if the trial is of another method."""
        number = self._best_paused()
        return self._promote(number) if number is not None and method_of(self.trial(number)) == method else None

    def finalists(self) -> list[str]:
        """Return the methods that are confirmed, best first; before the first score, the first methods are."""
        scored = list(dict.fromkeys(method_of(trial) for trial in self.complete()))
        return (scored or list(self.cells))[: self._tune.finalists]

    def open_methods(self) -> list[str]:
        """Return the methods that were not given up and have untried configurations."""
        tried = self._tried.count_by(METHOD)
        return [
            method
            for method, cell in self.cells.items()
            if not self.is_given_up(method) and ((total := size(cell.space)) is None or tried[method] < total)
        ]

    def is_given_up(self, method: str) -> bool:
        """Return whether a method's cell was given up."""
        return method in self._given_up and self._given_up[method]()

    def _fixed(self, number: int) -> dict[str, Any] | None:
        if number < len(self._first):
            return self._first[number]
        last = self.trial(number - 1).user_attrs
        if DUPLICATE not in last and SKIPPED not in last:
            return None
        # The sampler repeated itself or suggested a method that was given up: draw a method that is open instead.
        drawn = self.cells[random.Random(seed_of(self._tune.seed, METHOD, number)).choice(self.open_methods())]
        if size(drawn.space) is None:
            return {METHOD: drawn.method}
        return self._tried.first_untried(
            {METHOD: drawn.method} | {own_key(drawn, key): value for key, value in values.items()}
            for values in configurations(drawn.space)
        )

    def _skip(self, number: int, why: str) -> None:
        self._study.set_trial_attribute(number, SKIPPED, why)
        self.tell(number, None)


class JointQuota(TrialQuota):
    """The quota of a joint study: an unclaimed suggestion is a run still to start.

    Args:
        joint: the trials of the joint study.
        arguments: see `TrialQuota`.
    """

    def __init__(self, joint: JointTrials, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._joint = joint

    @property
    def full(self) -> bool:
        """True if the joint budget is used up, or no method has untried configurations."""
        return super().full or not self._joint.open_methods()

    @property
    def over(self) -> bool:
        """True if, besides, no paused trial can be promoted and no suggestion is unclaimed."""
        return not self._joint.has_unclaimed and super().over

    @property
    def left(self) -> int:
        """Number of runs still to start, an unclaimed suggestion included."""
        return super().left + self._joint.has_unclaimed

    @property
    def startable_without_feedback(self) -> int:
        """Number of trials that could start without feedback; a suggestion that exists needs none."""
        return max(super().startable_without_feedback, int(self._joint.has_unclaimed))

    @property
    def first_open_method(self) -> str | None:
        """The first method that was not given up; None if all were."""
        return next((method for method in self._joint.cells if not self._joint.is_given_up(method)), None)

    def close(self) -> None:
        """End the search for now. A suggestion that no cell has claimed waits for a larger budget."""
        super().close()
        self._joint.set_aside()


def _joint_space(cells: Sequence[Cell]) -> dict[str, Parameter]:
    """Return the space in which the method is a parameter and each method's keys are conditional on it."""
    methods = tuple(cell.method for cell in cells)
    space = {METHOD: Parameter(METHOD, ",".join(methods), CategoricalDistribution(methods), methods)}
    for cell in cells:
        for key, entry in cell.space.items():
            when = {own_key(cell, other): values for other, values in entry.when.items()}
            space[own_key(cell, key)] = replace(entry, when={METHOD: (cell.method,), **when})
    return space


def _first_in_turn(cells: Sequence[Cell], first: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return every method's default, then every method's second, ..., so that a small budget tries every method."""
    queue = [
        {METHOD: cell.method} | {own_key(cell, key): value for key, value in own[place].items()}
        for place in range(max(map(len, first)))
        for cell, own in zip(cells, first, strict=True)
        if place < len(own)
    ]
    without = [{METHOD: cell.method} for cell, own in zip(cells, first, strict=True) if not own]
    return without + queue
