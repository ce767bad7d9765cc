"""Asynchronous successive halving that pauses trials and promotes them; it decides, and does nothing else.

Li et al. 2020, "A system for massively parallel hyperparameter tuning" (MLSys; arXiv:1810.05934), algorithm 2. A trial
runs up to the lowest rung and pauses there. Whoever is free goes on with the best trial that is among the top 1/factor
of a rung and paused there, from the highest rung down; where there is none, with a new trial. Nobody waits for a rung
to fill. With the last new trial the paper's search has no end; ours ends when nothing runs and nothing is among the top
of its rung. Should no trial have reached its end by then, as in small studies, the best of the highest rung is promoted
until one has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TrialStanding:
    """How far a trial is.

    Attributes:
        number: of the trial.
        values: its score at the rungs that it has reached, by rung.
        level: index of the rung up to which it may run; the number of rungs stands for its end.
        over: whether it has ended: complete, failed or pruned. It is compared with others, and goes on no more.
    """

    number: int
    values: Mapping[int, float]
    level: int = 0
    over: bool = False


class PromotionRule:
    """The rungs of a study and the rule of promotion.

    Args:
        rungs: rising amounts of the resource, all below a full run.
        factor: one in so many trials is promoted.
        maximize: whether more of the score is better.
    """

    def __init__(self, rungs: Sequence[int], factor: int, maximize: bool) -> None:
        self.rungs, self._factor, self._maximize = tuple(rungs), factor, maximize

    def limit(self, trial: TrialStanding) -> int | None:
        """The amount up to which a trial may run; None to its end."""
        return self.rungs[trial.level] if trial.level < len(self.rungs) else None

    def paused(self, trial: TrialStanding) -> bool:
        """Whether a trial waits at its limit."""
        return not trial.over and self.limit(trial) in trial.values

    def promotable(self, trials: Sequence[TrialStanding]) -> list[int]:
        """The numbers of the paused trials that are among the top of their rung, in the order in which they go on."""
        found = []
        for rung in reversed(self.rungs):
            seen = self._ranked(trials, rung)
            top = seen[: len(seen) // self._factor]
            found += [trial.number for trial in top if self.paused(trial) and self.limit(trial) == rung]
        return found

    def last(self, trials: Sequence[TrialStanding]) -> int | None:
        """The trial that goes on although it is not among the top of its rung, for one must come to its end.

        To be asked where no trial has come to a usable end and no new one is tried. None as long as a trial runs.
        """
        if any(not (trial.over or self.paused(trial)) for trial in trials):
            return None
        for rung in reversed(self.rungs):
            for trial in self._ranked(trials, rung):
                if self.paused(trial) and self.limit(trial) == rung:
                    return trial.number
        return None

    def _ranked(self, trials: Sequence[TrialStanding], rung: int) -> list[TrialStanding]:
        """The trials that have reached a rung, best first; what is no number is worst, of equals the earlier first."""

        def rank(trial: TrialStanding) -> tuple[float, int]:
            value = trial.values[rung]
            worst = math.inf
            return (worst if math.isnan(value) else -value if self._maximize else value), trial.number

        return sorted((trial for trial in trials if rung in trial.values), key=rank)
