"""`tune.mode=joint`: one Optuna study over several methods of a task and model; the method itself is a parameter.

Combined selection of an algorithm and its hyperparameters (Thornton et al. 2013, "Auto-WEKA", KDD): each method's keys
are conditional on the method, so the search spends its trials where they pay. It answers which configuration is best,
not how methods compare when each is tuned alike: for that, `tune.mode=fair`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, create_trial

from harness.config import TuneConfig
from harness.errors import HarnessError
from harness.record import race_of
from harness.sweep.asha import Standing
from harness.sweep.cells import Cell
from harness.sweep.prepare import Ready
from harness.sweep.rungs import NO_RUNGS, Rungs, rungs_of
from harness.sweep.samplers import seed_of
from harness.sweep.space import Parameter, configurations, size
from harness.sweep.trials import DUPLICATE, SKIPPED, Suggestion, Trials

METHOD = "method"


def groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells that compete in one study: of the same task, model and other axes."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(race_of(cell.task, cell.model, cell.variant), []).append(cell)
    # Which methods there are is part of the space; in which order they were named is not.
    return [sorted(group, key=lambda cell: cell.method) for group in found.values()]


def check_joint(cells: Sequence[Cell], tune: TuneConfig) -> None:
    """Refuse a budget that would leave methods untried.

    Raises:
        HarnessError: says how many trials it takes.
    """
    most = max(len(group) for group in groups(cells))
    if tune.mode == "joint" and tune.trials is not None and tune.trials < most:
        raise HarnessError(
            f"tune.mode=joint with tune.trials={tune.trials} would not try each of {most} methods once: the budget is "
            f"that of all methods of a task and model together. Give it tune.trials={3 * most} or so, at least {most}."
        )


def make_trials(
    ready: Sequence[Ready],
    tune: TuneConfig,
    name: str,
    storage: BaseStorage,
    warm: Mapping[str, Sequence[dict[str, Any]]],
) -> dict[str, Trials | Lane]:
    """Make the studies of all cells.

    Args:
        ready: the cells.
        tune: how they are tuned.
        name: of the study.
        storage: of the trials.
        warm: by cell, what is tried after the default, sampled form.

    Returns:
        By cell, its own trials, or its part of a race.
    """
    cells = [each.cell for each in ready]
    by_id = {each.cell.id: each for each in ready}
    defaults = {cell.id: [] if (default := cell.defaults()) is None else [default] for cell in cells}
    first = {cell.id: [*defaults[cell.id], *warm.get(cell.id, ())] for cell in cells}
    if tune.mode == "fair":
        return {
            cell.id: Trials(
                f"{name}/{cell.id}",
                cell.space,
                tune,
                cell.maximize,
                first[cell.id],
                storage,
                rungs_of([by_id[cell.id]], tune),
            )
            for cell in cells
        }
    found: dict[str, Trials | Lane] = {}
    for group in groups(cells):
        rungs = rungs_of([by_id[cell.id] for cell in group], tune)
        axes = "".join(f".{key.rpartition('.')[2]}-{value}" for key, value in group[0].variant.items())
        race = Race(
            f"{name}/{group[0].task}.{group[0].model}{axes}", group, tune, [first[c.id] for c in group], storage, rungs
        )
        found |= {cell.id: lane for cell, lane in zip(group, race.lanes, strict=True)}
    return found


class Race(Trials):
    """The study of a group.

    Args:
        name: of the study.
        cells: the group.
        tune: see `Trials`; `trials` is the budget of all cells together.
        first: by cell, what its first trials try, the default before others.
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
                when = {_own(cell, other): values for other, values in entry.when.items()}
                space[_own(cell, key)] = replace(entry, when={METHOD: (cell.method,), **when})
        deepest = max(map(len, first))
        # Every method's default, then every method's second, ...: a small budget has seen them all.
        queue = [
            {METHOD: cell.method} | {_own(cell, key): value for key, value in own[place].items()}
            for place in range(deepest)
            for cell, own in zip(cells, first, strict=True)
            if place < len(own)
        ]
        defaults = {cell.method for cell, own in zip(cells, first, strict=True) if own}
        queue = [{METHOD: cell.method} for cell in cells if cell.method not in defaults] + queue
        super().__init__(name, space, tune, cells[0].maximize, queue, storage, rungs)
        self.cells = {cell.method: cell for cell in cells}
        self.lanes = [Lane(self, cell) for cell in cells]
        self._gave_up: dict[str, Callable[[], bool]] = {}
        self._pending: Suggestion | None = None
        self._aside: set[int] = set()  # trials that no budget was left for; a larger one begins with them

    @property
    def full(self) -> bool:
        """Whether the group's budget is used up, or nothing new is left that is worth trying."""
        return super().full or not self._open()

    @property
    def over(self) -> bool:
        """See `Trials.over`."""
        return self._pending is None and super().over

    @property
    def left(self) -> int:
        """See `Trials.left`; one that was suggested and waits for its cell is among them."""
        return super().left + (self._pending is not None)

    @property
    def unhurried(self) -> int:
        """See `Trials.unhurried`; what was suggested already misses nothing more."""
        return max(super().unhurried, int(self._pending is not None))

    @property
    def settled(self) -> bool:
        """Whether every trial has ended or waits for good, but for those that the budget did not reach.

        A trial that repeats another is answered with that one.
        """
        return (
            self._pending is None
            and all(
                trial.state.is_finished()
                or DUPLICATE in trial.user_attrs
                or trial.number in self._aside
                or self.paused(trial.number)
                for trial in self.all()
            )
            and self._last() is None
        )

    def close(self) -> None:
        """Set the suggestion aside that waits for its cell: it stays running in the storage, for a larger budget."""
        if self._pending is not None:
            self._aside.add(self._pending.number)
            self._pending = None

    def watch_cell(self, method: str, gave_up: Callable[[], bool]) -> None:
        """Take a way to ask whether a cell was given up."""
        self._gave_up[method] = gave_up

    def ask_for(self, method: str) -> Suggestion | None:
        """Suggest the next configuration; it waits for its cell if that is another one."""
        while self._pending is None and not self.over:
            found = self.ask()
            whose = self.method_of(self.trial(found.number))
            if self._gave_up[whose]():
                self._skip(found.number, "The method was given up.")
            else:
                self._pending = found
        return self.take(method)

    def take(self, method: str) -> Suggestion | None:
        """The suggestion that waits, if it is for this cell."""
        found = self._pending
        if found is None or self.method_of(self.trial(found.number)) != method:
            return None
        self._pending = None
        return found

    def last_for(self, method: str) -> Suggestion | None:
        """See `Trials.last`."""
        number = self._last()
        return self._promote(number) if number is not None and self.method_of(self.trial(number)) == method else None

    def finalists(self) -> list[str]:
        """The methods that are confirmed, best first."""
        found = dict.fromkeys(self.method_of(trial) for trial in self.complete())
        return list(found)[: self.most_finalists]

    @property
    def most_finalists(self) -> int:
        """How many methods are confirmed."""
        return self._tune.finalists

    @staticmethod
    def method_of(trial: FrozenTrial) -> str:
        """The method that a trial is of."""
        return str(trial.params[METHOD])

    @property
    def counting(self) -> Lane | None:
        """The first cell that was not given up; None if all were."""
        going = (lane for lane, method in zip(self.lanes, self.cells, strict=True) if not self._gave_up[method]())
        return next(going, None)

    def _standings(self) -> list[Standing]:
        return [trial for trial in super()._standings() if trial.number not in self._aside]

    def _open(self) -> list[Cell]:
        """Cells that were not given up and have something new to try."""
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
        # The sampler asks for what has nothing new to give: another method gets the trial.
        drawn = random.Random(seed_of(self._tune.seed, self._name, number)).choice(self._open())
        if size(drawn.space) is None:
            return {METHOD: drawn.method}
        grid = [
            {METHOD: drawn.method} | {_own(drawn, key): value for key, value in values.items()}
            for values in configurations(drawn.space)
        ]
        random.Random(seed_of(self._tune.seed, self._name, 0)).shuffle(grid)
        return next(values for values in grid if self._key(values) not in self._keys)

    def _skip(self, number: int, why: str) -> None:
        self._note(number, SKIPPED, why)
        self.tell(number, None)


class Lane:
    """One cell's part of a race, to be used like its `Trials`; numbers of trials are those of the race."""

    def __init__(self, race: Race, cell: Cell) -> None:
        self._race, self._cell = race, cell
        self.tell, self.told, self.close = race.tell, race.told, race.close
        self.rungs, self.report, self.hopeless = race.rungs, race.report, race.hopeless
        self.limit, self.paused = race.limit, race.paused

    def all(self) -> list[FrozenTrial]:
        """Every trial of this cell that is run."""
        return [
            self._own(trial)
            for trial in self._race.all()
            if Race.method_of(trial) == self._cell.method and SKIPPED not in trial.user_attrs
        ]

    def trial(self, number: int) -> FrozenTrial:
        """A trial by its number."""
        return self._own(self._race.trial(number))

    def complete(self) -> list[FrozenTrial]:
        """See `Trials.complete`."""
        return [self._own(trial) for trial in self._race.complete() if Race.method_of(trial) == self._cell.method]

    def suggestion(self, number: int) -> Suggestion:
        """The configuration of a trial that exists."""
        trial = self.trial(number)
        values = {key: self._cell.space[key].decode(value) for key, value in trial.params.items()}
        return Suggestion(number, values, trial.user_attrs.get(DUPLICATE))

    def ask(self) -> Suggestion | None:
        """The next configuration, if it is for this cell."""
        return self._decoded(self._race.ask_for(self._cell.method))

    def last(self) -> Suggestion | None:
        """See `Trials.last`."""
        return self._decoded(self._race.last_for(self._cell.method))

    def pending(self) -> Suggestion | None:
        """See `Trials.pending`."""
        return self._decoded(self._race.take(self._cell.method))

    def watch(self, gave_up: Callable[[], bool]) -> None:
        """Take a way to ask whether the cell was given up."""
        self._race.watch_cell(self._cell.method, gave_up)

    @property
    def tried(self) -> int:
        """Configurations of this cell that were tried or are."""
        return sum(DUPLICATE not in trial.user_attrs for trial in self.all())

    @property
    def exhausted(self) -> bool:
        """Whether this cell has nothing new to try."""
        total = size(self._cell.space)
        return total is not None and self.tried >= total

    @property
    def over(self) -> bool:
        """Whether the race asks no more."""
        return self._race.over

    @property
    def planned(self) -> int | None:
        """How many of the race's trials are this cell's cannot be said beforehand."""
        return None

    @property
    def left(self) -> int:
        """The race's trials to come, counted with its first cell that was not given up."""
        return self._race.left if self._race.counting is self else 0

    @property
    def promotable(self) -> int:
        """The race's paused trials that go on, counted like those to come."""
        return self._race.promotable if self._race.counting is self else 0

    @property
    def startable(self) -> int:
        """See `Trials.startable`: those of the race, any of which may turn out to be this cell's."""
        return self._race.left

    @property
    def unhurried(self) -> int:
        """See `Trials.unhurried`: those of the race, any of which may turn out to be this cell's."""
        return self._race.unhurried

    @property
    def settled(self) -> bool:
        """Whether it can be said what is confirmed."""
        return self._race.settled

    @property
    def finalist(self) -> bool:
        """Whether the cell is among the best so far that are confirmed; before the first score, the first cells are."""
        found = self._race.finalists() or list(self._race.cells)[: self._race.most_finalists]
        return self._cell.method in found

    @property
    def group(self) -> tuple[str, ...]:
        """The ids of the race's cells, which share its budget."""
        return tuple(cell.id for cell in self._race.cells.values())

    def _decoded(self, found: Suggestion | None) -> Suggestion | None:
        return None if found is None else self.suggestion(found.number)

    def _own(self, trial: FrozenTrial) -> FrozenTrial:
        """The trial as this cell's own study would hold it."""
        names = {_own(self._cell, key): key for key in self._cell.space}
        mine = create_trial(
            state=trial.state,
            values=trial.values,
            params={names[key]: value for key, value in trial.params.items() if key in names},
            distributions={names[key]: value for key, value in trial.distributions.items() if key in names},
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs,
            intermediate_values=trial.intermediate_values,
        )
        mine.number = trial.number
        return mine


def _own(cell: Cell, key: str) -> str:
    return f"{cell.method}: {key}"
