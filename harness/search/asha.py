"""Asynchronous successive halving (ASHA) that pauses and promotes trials: pure decisions, without side effects.

Li et al. 2020, "A system for massively parallel hyperparameter tuning" (MLSys; arXiv:1810.05934), algorithm 2. A trial
runs up to the lowest rung and pauses there. A free worker promotes the best trial that is paused at a rung and among
the top 1/factor of it, from the highest rung down; if there is none, it starts a new trial. No worker waits for a rung
to fill.

The paper's search has no end after the last new trial; this one ends when no trial runs and no paused trial is among
the top of its rung. If no trial is complete by then, as in small studies, the best trial of the highest rung is
promoted until one is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TrialStanding:
    """The progress of a trial.

    Attributes:
        number: of the trial.
        values: its score at each rung that it has reached, by rung.
        level: index of the rung up to which it may run; equal to the number of rungs, it may run to its end.
        over: whether it has ended: complete, failed or pruned. Its scores still count, but it is not promoted.
    """

    number: int
    values: Mapping[int, float]
    level: int = 0
    over: bool = False


class PromotionRule:
    """The rule by which paused trials are promoted to the next rung.

    Args:
        rungs: rising amounts of the resource, all below a full run.
        factor: the reduction factor: one in this many trials is promoted.
        maximize: whether a larger score is better.
    """

    def __init__(self, rungs: Sequence[int], factor: int, maximize: bool) -> None:
        self.rungs, self._factor, self._maximize = tuple(rungs), factor, maximize

    def limit(self, trial: TrialStanding) -> int | None:
        """Return the amount of the resource up to which a trial may run; None if to its end."""
        return self.rungs[trial.level] if trial.level < len(self.rungs) else None

    def paused(self, trial: TrialStanding) -> bool:
        """Return whether a trial is paused at its limit."""
        return not trial.over and self.limit(trial) in trial.values

    def promotable(self, trials: Sequence[TrialStanding]) -> list[int]:
        """Return the numbers of the paused trials that are among the top of their rung, in the order of promotion."""
        found = []
        for rung in reversed(self.rungs):
            seen = self._ranked(trials, rung)
            top = seen[: len(seen) // self._factor]
            found += [trial.number for trial in top if self.paused(trial) and self.limit(trial) == rung]
        return found

    def best_paused(self, trials: Sequence[TrialStanding]) -> int | None:
        """Return the best paused trial of the highest rung, though not among its top, as one trial must be completed.

        Call this only if no trial is complete with a usable score and no new one is tried. None while a trial runs.
        """
        if any(not (trial.over or self.paused(trial)) for trial in trials):
            return None
        for rung in reversed(self.rungs):
            for trial in self._ranked(trials, rung):
                if self.paused(trial) and self.limit(trial) == rung:
                    return trial.number
        return None

    def _ranked(self, trials: Sequence[TrialStanding], rung: int) -> list[TrialStanding]:
        """Return the trials that have reached a rung, best first; NaN is worst, and ties go to the earlier trial."""

        def rank(trial: TrialStanding) -> tuple[float, int]:
            value = trial.values[rung]
            worst = math.inf
            return (worst if math.isnan(value) else -value if self._maximize else value), trial.number

        return sorted((trial for trial in trials if rung in trial.values), key=rank)
