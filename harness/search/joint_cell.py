"""The trials of one cell (one method) in a joint study."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import FrozenTrial, create_trial

from harness.design.cells import Cell
from harness.design.search_space import size
from harness.search.joint_trials import JointTrials, method_of, own_key
from harness.search.trials import DUPLICATE, SKIPPED, Suggestion


class MethodTrials:
    """The trials of one method in a joint study, with the interface of `Trials`.

    Trial numbers are those of the joint study.

    Args:
        race: the joint study.
        cell: the method's cell.
    """

    def __init__(self, race: JointTrials, cell: Cell) -> None:
        self._race, self._cell = race, cell
        self.tell, self.told, self.close = race.tell, race.told, race.close
        self.rungs, self.report, self.should_prune = race.rungs, race.report, race.should_prune
        self.limit = race.limit

    def all(self) -> list[FrozenTrial]:
        """Return the trials of this cell, without the skipped ones."""
        return [
            self._own(trial)
            for trial in self._race.all()
            if method_of(trial) == self._cell.method and SKIPPED not in trial.user_attrs
        ]

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial by its number."""
        return self._own(self._race.trial(number))

    def paused(self) -> list[int]:
        """See `Trials.paused`."""
        return [number for number in self._race.paused() if method_of(self._race.trial(number)) == self._cell.method]

    def complete(self) -> list[FrozenTrial]:
        """See `Trials.complete`."""
        return [self._own(trial) for trial in self._race.complete() if method_of(trial) == self._cell.method]

    def suggestion(self, number: int) -> Suggestion:
        """Return the configuration of an existing trial."""
        trial = self.trial(number)
        values = {key: self._cell.space[key].decode(value) for key, value in trial.params.items()}
        return Suggestion(number, values, trial.user_attrs.get(DUPLICATE))

    def ask(self) -> Suggestion | None:
        """Suggest the next configuration of the joint study; None if it is for another cell."""
        return self._decoded(self._race.ask_for(self._cell.method))

    def last(self) -> Suggestion | None:
        """See `Trials.last`."""
        return self._decoded(self._race.last_for(self._cell.method))

    def pending(self) -> Suggestion | None:
        """See `Trials.pending`."""
        return self._decoded(self._race.take(self._cell.method))

    def watch(self, gave_up: Callable[[], bool]) -> None:
        """Set the function that returns whether the cell was given up."""
        self._race.watch_cell(self._cell.method, gave_up)

    @property
    def tried(self) -> int:
        """Number of configurations of this cell that were tried or are being tried."""
        return sum(DUPLICATE not in trial.user_attrs for trial in self.all())

    @property
    def exhausted(self) -> bool:
        """True if this cell has nothing new to try."""
        total = size(self._cell.space)
        return total is not None and self.tried >= total

    @property
    def over(self) -> bool:
        """See `Trials.over`, of the joint study."""
        return self._race.over

    @property
    def planned(self) -> int | None:
        """None: how many trials of the joint study go to this cell is unknown beforehand."""
        return None

    @property
    def left(self) -> int:
        """The remaining trials of the joint study, attributed to its first cell that was not given up; else 0."""
        return self._race.left if self._race.first_open_method == self._cell.method else 0

    @property
    def endless(self) -> bool:
        """See `Trials.endless`, of the joint study."""
        return self._race.endless

    @property
    def startable_now(self) -> int:
        """See `Trials.startable_now`; any trial of the joint study may turn out to be this cell's."""
        return self._race.left

    @property
    def startable_without_feedback(self) -> int:
        """See `Trials.startable_without_feedback`; any trial of the joint study may turn out to be this cell's."""
        return self._race.startable_without_feedback

    @property
    def settled(self) -> bool:
        """True once it is decided which methods are confirmed."""
        return self._race.settled

    @property
    def is_finalist(self) -> bool:
        """True if the method is among the finalists so far; before the first score, the first methods are."""
        found = self._race.finalists() or list(self._race.cells)[: self._race.most_finalists]
        return self._cell.method in found

    @property
    def group(self) -> tuple[str, ...]:
        """The ids of the cells of the joint study, which share its budget."""
        return tuple(cell.id for cell in self._race.cells.values())

    def _decoded(self, found: Suggestion | None) -> Suggestion | None:
        return None if found is None else self.suggestion(found.number)

    def _own(self, trial: FrozenTrial) -> FrozenTrial:
        """Convert a trial to the form that an Optuna study of this cell alone would have."""
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
