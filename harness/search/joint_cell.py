"""The trials of one cell (one method) in a joint study."""

from __future__ import annotations

from optuna.trial import FrozenTrial, create_trial

from harness.design.cells import Cell
from harness.design.search_space import size
from harness.search.joint_trials import JointTrials, method_of, own_key
from harness.search.trial_source import DUPLICATE, SKIPPED, Suggestion


class MethodTrials:
    """The trials of one method in a joint study (a `TrialSource`). Trial numbers are those of the joint study.

    Args:
        joint: the joint study.
        cell: the method's cell.

    Attributes:
        quota: how many trials are left.
        rungs: where running trials are compared.
    """

    def __init__(self, joint: JointTrials, cell: Cell) -> None:
        self._joint, self._cell = joint, cell
        self.quota = MethodQuota(joint, self)
        self.rungs = joint.rungs
        self.tell, self.report, self.should_prune, self.limit = (
            joint.tell, joint.report, joint.should_prune, joint.limit
        )  # fmt: skip

    @property
    def cell(self) -> Cell:
        """The method's cell."""
        return self._cell

    def all(self) -> list[FrozenTrial]:
        """Return the trials of this cell, without the skipped ones."""
        return [
            self._own(trial) for trial in self._joint.all() if self._is_own(trial) and SKIPPED not in trial.user_attrs
        ]

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial by its number."""
        return self._own(self._joint.trial(number))

    def paused(self) -> list[int]:
        """Return the numbers of the cell's trials that are paused at their limit."""
        return [number for number in self._joint.paused() if self._is_own(self._joint.trial(number))]

    def complete(self) -> list[FrozenTrial]:
        """Return the cell's complete trials that satisfy every constraint, best first."""
        return [self._own(trial) for trial in self._joint.complete() if self._is_own(trial)]

    def suggestion(self, number: int) -> Suggestion:
        """Return the configuration of an existing trial."""
        trial = self.trial(number)
        values = {key: self._cell.space[key].decode(value) for key, value in trial.params.items()}
        return Suggestion(number, values, trial.user_attrs.get(DUPLICATE))

    def suggest(self, new: bool = True) -> Suggestion | None:
        """Suggest the next configuration of the joint study; None if it is for another cell.

        Args:
            new: whether another trial may be sampled or promoted; otherwise only one that was suggested for this cell
                when another cell asked is returned.
        """
        method = self._cell.method
        return self._decoded(self._joint.ask_for(method) if new else self._joint.claim(method))

    def promote_best_paused(self) -> Suggestion | None:
        """See `JointTrials.promote_best_paused_of`."""
        return self._decoded(self._joint.promote_best_paused_of(self._cell.method))

    @property
    def outcome_known(self) -> bool:
        """True once it is decided which methods are confirmed."""
        return self._joint.outcome_known

    @property
    def is_finalist(self) -> bool:
        """True if the method is among the finalists so far."""
        return self._cell.method in self._joint.finalists()

    @property
    def unclaimed(self) -> int | None:
        """Number of the trial that was suggested for this method when another one asked; None if there is none."""
        return self._joint.unclaimed_of(self._cell.method)

    def _is_own(self, trial: FrozenTrial) -> bool:
        return method_of(trial) == self._cell.method

    def _decoded(self, joint_suggestion: Suggestion | None) -> Suggestion | None:
        return None if joint_suggestion is None else self.suggestion(joint_suggestion.number)

    def _own(self, trial: FrozenTrial) -> FrozenTrial:
        """Convert a trial to the form that an Optuna study of this cell alone would have."""
        names = {own_key(self._cell, key): key for key in self._cell.space}
        own = create_trial(
            state=trial.state,
            values=trial.values,
            params={names[key]: value for key, value in trial.params.items() if key in names},
            distributions={names[key]: value for key, value in trial.distributions.items() if key in names},
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs,
            intermediate_values=trial.intermediate_values,
        )
        own.number = trial.number
        return own


class MethodQuota:
    """What is left for one method of a joint study, whose budget all its methods share (a `Quota`).

    Args:
        joint: the joint study.
        trials: of the method.
    """

    planned: int | None = None  # how many trials of the joint study go to this cell is unknown beforehand

    def __init__(self, joint: JointTrials, trials: MethodTrials) -> None:
        self._shared, self._trials = joint.quota, trials
        self.close = joint.quota.close

    @property
    def tried(self) -> int:
        """Number of configurations of this cell that were tried or are being tried."""
        return sum(DUPLICATE not in trial.user_attrs for trial in self._trials.all())

    @property
    def exhausted(self) -> bool:
        """True if this cell has no untried configuration."""
        total = size(self._trials.cell.space)
        return total is not None and self.tried >= total

    @property
    def over(self) -> bool:
        """True if the search of the joint study is over."""
        return self._shared.over

    @property
    def closed(self) -> bool:
        """True if the study's budget ended the search."""
        return self._shared.closed

    @property
    def endless(self) -> bool:
        """True if only a time limit ends the search of the joint study."""
        return self._shared.endless

    @property
    def left(self) -> int:
        """The remaining trials of the joint study, attributed to its first cell that was not given up; else 0."""
        return self._shared.left if self._shared.first_open_method == self._trials.cell.method else 0

    @property
    def startable_now(self) -> int:
        """Estimated number of trials that could start now; any may turn out to be this cell's."""
        return self._shared.left

    @property
    def startable_without_feedback(self) -> int:
        """Number of trials that could start without feedback; any may turn out to be this cell's."""
        return self._shared.startable_without_feedback
