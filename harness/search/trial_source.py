"""What the scheduler of a cell asks of the cell's trials, in an Optuna study of their own or in a joint study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from harness.search.rungs import Rungs

DUPLICATE = "duplicate_of"  # user attribute: number of the trial with the same configuration
SKIPPED = "skipped"  # user attribute: why the trial was never run


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


class Quota(Protocol):
    """How many trials were tried, are left, and may start."""

    @property
    def tried(self) -> int:
        """Number of configurations of the cell that were tried or are being tried, each once."""

    @property
    def exhausted(self) -> bool:
        """True if the cell has no untried configuration."""

    @property
    def over(self) -> bool:
        """True if no new configuration is tried and no paused trial can be promoted at present."""

    @property
    def closed(self) -> bool:
        """True if the study's budget ended the search."""

    @property
    def planned(self) -> int | None:
        """Number of configurations that the cell tries in total; None if that is unknown."""

    @property
    def endless(self) -> bool:
        """True if only a time limit ends the search."""

    @property
    def left(self) -> int:
        """Number of runs still to start."""

    @property
    def startable_now(self) -> int:
        """Estimated number of trials that could start now, whatever the results of others."""

    @property
    def startable_without_feedback(self) -> int:
        """Number of trials that could start now without the sampler missing the results of earlier ones."""

    def close(self) -> None:
        """End the search for now: the rest of the study's budget is for confirmation."""


class TrialSource(Protocol):
    """The trials of one cell: `SingleCellTrials`, or `MethodTrials` in a joint study."""

    @property
    def quota(self) -> Quota:
        """How many trials are left."""

    @property
    def rungs(self) -> Rungs:
        """Where running trials are compared."""

    @property
    def outcome_known(self) -> bool:
        """True if no trial has to end or to continue before it is known what is confirmed."""

    @property
    def is_finalist(self) -> bool:
        """True if the cell's best configuration is confirmed, as far as is known."""

    @property
    def unclaimed(self) -> int | None:
        """Number of the trial that was suggested for this cell when another one asked; None if there is none."""

    def suggest(self, new: bool = True) -> Suggestion | None:
        """Suggest the next configuration of the cell; None if there is none for now.

        Args:
            new: whether another trial may be sampled or promoted; otherwise only one that was sampled before and has
                not started is returned.
        """

    def promote_best_paused(self) -> Suggestion | None:
        """Promote a paused trial of the cell after all were tried, if none is complete with a usable score."""

    def all(self) -> Sequence[FrozenTrial]:
        """Return every trial of the cell."""

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial by its number."""

    def suggestion(self, number: int) -> Suggestion:
        """Return the configuration of an existing trial."""

    def complete(self) -> Sequence[FrozenTrial]:
        """Return the complete trials that satisfy every constraint, best first; ties go to the earlier trial."""

    def limit(self, number: int) -> int | None:
        """Return the amount of the resource up to which a trial may run; None if to its end."""

    def paused(self) -> Sequence[int]:
        """Return the numbers of the trials that are paused at their limit."""

    def tell(
        self,
        number: int,
        value: float | None,
        pruned: bool = False,
        costs: Sequence[float] = (),
        excess: Mapping[str, float] | None = None,
    ) -> None:
        """Store the result of a trial (see `Trials.tell`)."""

    def report(self, number: int, rung: int, value: float) -> None:
        """Store the score of a trial at a rung."""

    def should_prune(self, number: int) -> bool:
        """Return whether a running trial should be ended."""
