"""The trials of a joint study, in which the method is a parameter."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from harness.config.schema import TuneConfig
from harness.design.cells import Cell
from harness.design.search_space import Parameter, configurations, size
from harness.search.asha import TrialStanding
from harness.search.rungs import NO_RUNGS, Rungs
from harness.search.samplers import seed_of
from harness.search.trials import DUPLICATE, SKIPPED, Suggestion, Trials


def own_key(cell: Cell, key: str) -> str:
    """Return the name of a cell's key in the joint study, where each method has its own keys."""
    return f"{cell.method}: {key}"


def method_of(trial: FrozenTrial) -> str:
    """Return the method of a trial of a joint study."""
    return str(trial.params[METHOD])


METHOD = "method"  # the parameter of a joint study that selects the method, and so the cell


class JointTrials(Trials):
    """The trials of a joint study over the methods of a task and model.

    Args:
        name: of the Optuna study.
        cells: one for each method.
        tune: see `Trials`; `trials` is the budget of all cells together.
        first: the configurations of each cell's first trials, the default before others.
        storage, rungs: see `Trials`.
    """

    def __init__(
        self,
        name: str,
        cells: Sequence[Cell],
        tune: TuneConfig,
        first: Sequence[Sequence[dict[str, Any]]],
        storage: BaseStorage,
        rungs: Rungs = NO_RUNGS,
    ) -> None:
        methods = tuple(cell.method for cell in cells)
        space = {METHOD: Parameter(METHOD, ",".join(methods), CategoricalDistribution(methods), methods)}
        for cell in cells:
            for key, entry in cell.space.items():
                when = {own_key(cell, other): values for other, values in entry.when.items()}
                space[own_key(cell, key)] = replace(entry, when={METHOD: (cell.method,), **when})
        deepest = max(map(len, first))
        # Every method's default, then every method's second, ..., so that a small budget tries every method.
        queue = [
            {METHOD: cell.method} | {own_key(cell, key): value for key, value in own[place].items()}
            for place in range(deepest)
            for cell, own in zip(cells, first, strict=True)
            if place < len(own)
        ]
        defaults = {cell.method for cell, own in zip(cells, first, strict=True) if own}
        queue = [{METHOD: cell.method} for cell in cells if cell.method not in defaults] + queue
        super().__init__(name, space, tune, cells[0].maximize, queue, storage, rungs)
        self.cells = {cell.method: cell for cell in cells}
        self._gave_up: dict[str, Callable[[], bool]] = {}
        self._pending: Suggestion | None = None
        self._aside: set[int] = set()  # trials that the budget did not reach; a larger budget begins with them

    @property
    def full(self) -> bool:
        """True if the joint budget is used up, or no method has untried configurations."""
        return super().full or not self._open()

    @property
    def over(self) -> bool:
        """See `Trials.over`."""
        return self._pending is None and super().over

    @property
    def left(self) -> int:
        """See `Trials.left`; includes a suggestion not yet claimed by its cell."""
        return super().left + (self._pending is not None)

    @property
    def startable_without_feedback(self) -> int:
        """See `Trials.startable_without_feedback`; an existing suggestion needs no more feedback."""
        return max(super().startable_without_feedback, int(self._pending is not None))

    @property
    def settled(self) -> bool:
        """True if every trial has ended or stays paused, except those that the budget did not reach.

        Duplicates are ignored: they get the result of the trial that they repeat.
        """
        waiting = self.paused()
        return (
            self._pending is None
            and all(
                trial.state.is_finished()
                or DUPLICATE in trial.user_attrs
                or trial.number in self._aside
                or trial.number in waiting
                for trial in self.all()
            )
            and self._last() is None
        )

    def close(self) -> None:
        """Set the unclaimed suggestion aside: it keeps the state RUNNING in the storage, for a larger budget."""
        if self._pending is not None:
            self._aside.add(self._pending.number)
            self._pending = None

    def watch_cell(self, method: str, gave_up: Callable[[], bool]) -> None:
        """Set the function that returns whether a method's cell was given up."""
        self._gave_up[method] = gave_up

    def ask_for(self, method: str) -> Suggestion | None:
        """Suggest the next configuration if it is for this method; otherwise keep it for its cell and return None."""
        while self._pending is None and not self.over:
            found = self.ask()
            whose = method_of(self.trial(found.number))
            if self._gave_up[whose]():
                self._skip(found.number, "The method was given up.")
            else:
                self._pending = found
        return self.take(method)

    def take(self, method: str) -> Suggestion | None:
        """Return the unclaimed suggestion if it is for this method; otherwise None."""
        found = self._pending
        if found is None or method_of(self.trial(found.number)) != method:
            return None
        self._pending = None
        return found

    def last_for(self, method: str) -> Suggestion | None:
        """See `Trials.last`."""
        number = self._last()
        return self._promote(number) if number is not None and method_of(self.trial(number)) == method else None

    def finalists(self) -> list[str]:
        """Return the methods that are confirmed, best first."""
        found = dict.fromkeys(method_of(trial) for trial in self.complete())
        return list(found)[: self.most_finalists]

    @property
    def most_finalists(self) -> int:
        """Number of methods that are confirmed (`tune.finalists`)."""
        return self._tune.finalists

    @property
    def first_open_method(self) -> str | None:
        """The first method that was not given up; None if all were."""
        return next((method for method in self.cells if not self._gave_up[method]()), None)

    def _standings(self) -> list[TrialStanding]:
        return [trial for trial in super()._standings() if trial.number not in self._aside]

    def _open(self) -> list[Cell]:
        """Return the cells that were not given up and have untried configurations."""
        tried: dict[str, int] = {}
        for key in self._keys:
            method = dict(key)[METHOD]
            tried[method] = tried.get(method, 0) + 1
        return [
            cell
            for method, cell in self.cells.items()
            if not (method in self._gave_up and self._gave_up[method]())
            and ((total := size(cell.space)) is None or tried.get(method, 0) < total)
        ]

    def _fixed(self, number: int) -> dict[str, Any] | None:
        if number < len(self._first):
            return self._first[number]
        last = self.trial(number - 1).user_attrs
        if DUPLICATE not in last and SKIPPED not in last:
            return None
        # The sampler repeated itself or suggested a method that was given up: draw a method that is open instead.
        drawn = random.Random(seed_of(self._tune.seed, self._name, number)).choice(self._open())
        if size(drawn.space) is None:
            return {METHOD: drawn.method}
        grid = [
            {METHOD: drawn.method} | {own_key(drawn, key): value for key, value in values.items()}
            for values in configurations(drawn.space)
        ]
        random.Random(seed_of(self._tune.seed, self._name, 0)).shuffle(grid)
        return next(values for values in grid if self._key(values) not in self._keys)

    def _skip(self, number: int, why: str) -> None:
        self._note(number, SKIPPED, why)
        self.tell(number, None)
