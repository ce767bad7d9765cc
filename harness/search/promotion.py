"""The rungs that the trials of an Optuna study have reached, and which paused trial is promoted next."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from harness.search.asha import PromotionRule, TrialStanding
from harness.search.storage import MirroredStudy
from harness.search.trial_source import DUPLICATE, SKIPPED

LEVEL = "level"  # user attribute: index of the rung up to which the trial may run, if it was promoted


class Promotions:
    """Applies the rule of promotion to the trials of an Optuna study.

    Args:
        study: the Optuna study, where promotions are stored.
        rule: without rungs no trial pauses.

    Attributes:
        left_out: numbers of the trials that have not started and are neither paused nor waited for.
    """

    def __init__(self, study: MirroredStudy, rule: PromotionRule) -> None:
        self._study, self._rule = study, rule
        self.left_out: set[int] = set()

    def limit(self, number: int) -> int | None:
        """Return the amount of the resource up to which a trial may run; None if to its end."""
        return self._rule.limit(_standing(self._study.trials()[number]))

    def paused(self) -> list[int]:
        """Return the numbers of the trials that are paused at their limit."""
        return [standing.number for standing in self._standings() if self._rule.paused(standing)]

    def promotable(self) -> list[int]:
        """Return the numbers of the paused trials that may go on, in the order of promotion."""
        return self._rule.promotable(self._standings())

    def best_paused(self) -> int | None:
        """Return the best paused trial of the highest rung; None if there is none, or while a trial runs."""
        return self._rule.best_paused(self._standings())

    def promote(self, number: int) -> None:
        """Let a paused trial run up to the next rung, or to its end."""
        level = _standing(self._study.trials()[number]).level + 1
        self._study.set_trial_attribute(number, LEVEL, level)

    def unfinished_with_scores(self) -> frozenset[int]:
        """Return the numbers of the trials that have a score at a rung and have not ended."""
        return frozenset(standing.number for standing in self._standings() if standing.values and not standing.over)

    @property
    def any_running(self) -> bool:
        """True if any trial has neither ended nor paused."""
        return any(
            not trial.state.is_finished() and not self._rule.paused(_standing(trial)) for trial in self._study.trials()
        )

    def _standings(self) -> Sequence[TrialStanding]:
        if not self._rule.rungs:
            return ()
        return [
            _standing(trial)
            for trial in self._study.trials()
            if DUPLICATE not in trial.user_attrs
            and SKIPPED not in trial.user_attrs
            and trial.number not in self.left_out
        ]


def _standing(trial: FrozenTrial) -> TrialStanding:
    return TrialStanding(
        trial.number, trial.intermediate_values, int(trial.user_attrs.get(LEVEL, 0)), trial.state.is_finished()
    )
