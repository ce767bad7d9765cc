"""One cell's part of a joint study, to be used like the trials of a cell that has a study of its own."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import FrozenTrial, create_trial

from harness.design.cells import Cell
from harness.design.search_space import size
from harness.search.joint_trials import JointTrials, method_of, own_key
from harness.search.trials import DUPLICATE, SKIPPED, Suggestion


class MethodTrials:
    """One cell's part of a race, to be used like its `Trials`; numbers of trials are those of the race."""

    def __init__(self, race: JointTrials, cell: Cell) -> None:
        self._race, self._cell = race, cell
        self.tell, self.told, self.close = race.tell, race.told, race.close
        self.rungs, self.report, self.should_prune = race.rungs, race.report, race.should_prune
        self.limit = race.limit

    def all(self) -> list[FrozenTrial]:
        """Every trial of this cell that is run."""
        return [
            self._own(trial)
            for trial in self._race.all()
            if method_of(trial) == self._cell.method and SKIPPED not in trial.user_attrs
        ]

    def trial(self, number: int) -> FrozenTrial:
        """A trial by its number."""
        return self._own(self._race.trial(number))

    def paused(self) -> list[int]:
        """See `Trials.paused`."""
        return [number for number in self._race.paused() if method_of(self._race.trial(number)) == self._cell.method]

    def complete(self) -> list[FrozenTrial]:
        """See `Trials.complete`."""
        return [self._own(trial) for trial in self._race.complete() if method_of(trial) == self._cell.method]

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
        return self._race.left if self._race.first_open_method == self._cell.method else 0

    @property
    def endless(self) -> bool:
        """See `Trials.endless`: the race."""
        return self._race.endless

    @property
    def startable_now(self) -> int:
        """See `Trials.startable_now`: those of the race, any of which may turn out to be this cell's."""
        return self._race.left

    @property
    def startable_without_feedback(self) -> int:
        """See `Trials.startable_without_feedback`: those of the race, any of which may turn out to be this cell's."""
        return self._race.startable_without_feedback

    @property
    def settled(self) -> bool:
        """Whether it can be said what is confirmed."""
        return self._race.settled

    @property
    def is_finalist(self) -> bool:
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
        names = {own_key(self._cell, key): key for key in self._cell.space}
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
