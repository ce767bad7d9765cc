"""The trials of one search space: an Optuna study that stays deterministic if the process is killed.

Every trial is sampled in memory and then stored in one entry (`MirroredStudy`). Random numbers depend on (tune.seed,
key, trial number) alone (`harness.search.samplers`), so a resumed study continues as an uninterrupted one would
have, and neither a study's name nor its other cells change a trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.config.schema import TuneConfig
from harness.design.search_space import Parameter, configurations, planned_trials, size
from harness.search.asha import PromotionRule
from harness.search.promotion import Promotions
from harness.search.pruners import make_pruner
from harness.search.quota import TrialQuota, TriedConfigurations
from harness.search.rungs import NO_RUNGS, Rungs
from harness.search.samplers import make_sampler, startup_trials
from harness.search.storage import MirroredStudy
from harness.search.trial_source import DUPLICATE, Suggestion

FIRST = "first"  # user attribute of the Optuna study: its first configurations, if there are more than the default
STARTUP = "startup_trials"  # user attribute of the Optuna study: the number of its random trials
# Repeated suggestions in a row after which a trial of a finite space gets an untried configuration.
REPEATS = 3


class Trials:
    """The trials of one search space, asked for and told as in an Optuna study.

    Args:
        name: of the Optuna study in the storage.
        space: the tuned keys.
        tune: sampler, pruner, seed and budget.
        maximize: direction of the metric. `tune.objectives` are further objectives, all minimized.
        first: the first configurations, in sampled form: trial 0 is the documented default, then those of a warm start.
        storage: written to after each change in memory.
        rungs: where running trials are compared.

    Attributes:
        quota: how many trials are left.
        rungs: where running trials are compared.
        startup: number of random trials before a model-based sampler starts.
    """

    def __init__(
        self,
        name: str,
        space: Mapping[str, Parameter],
        tune: TuneConfig,
        maximize: bool,
        first: Sequence[dict[str, Any]],
        storage: BaseStorage,
        rungs: Rungs = NO_RUNGS,
    ) -> None:
        self.rungs = rungs
        self._space, self._tune, self._maximize = space, tune, maximize
        directions = ["maximize" if maximize else "minimize", *("minimize" for _ in tune.objectives)]
        self._study = MirroredStudy(name, directions, storage, make_pruner(tune, rungs))
        stored = self._study.attributes
        # An extended study keeps the values that it began with.
        self.startup: int = stored.get(STARTUP) or startup_trials(tune)
        if STARTUP not in stored:
            self._study.set_attribute(STARTUP, self.startup)
        self._first: list[dict[str, Any]] = stored.get(FIRST) or list(first)
        if FIRST not in stored and len(first) > 1:
            self._study.set_attribute(FIRST, self._first)
        self._tried = TriedConfigurations(size(space), tune.seed)
        for trial in self.all():
            self._tried.add(trial.params, trial.number)
        rule = PromotionRule(rungs.at if tune.pruner == "asha" else (), tune.reduction_factor, maximize)
        self._promotions = Promotions(self._study, rule)
        self.quota = self._make_quota()
        self._best_first: list[FrozenTrial] | None = None  # cache of `complete`; None after a trial got its result

    def _make_quota(self) -> TrialQuota:
        planned = planned_trials(self._space, self._tune)
        return TrialQuota(self._study, self._tried, self._promotions, self._tune, planned, self.startup)

    def all(self) -> list[FrozenTrial]:
        """Return every trial."""
        return self._study.trials()

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial by its number."""
        return self.all()[number]

    def suggestion(self, number: int) -> Suggestion:
        """Return the configuration of an existing trial."""
        trial = self.trial(number)
        values = {key: self._space[key].decode(value) for key, value in trial.params.items()}
        return Suggestion(trial.number, values, trial.user_attrs.get(DUPLICATE))

    def complete(self) -> list[FrozenTrial]:
        """Return the complete trials that satisfy every constraint, best first; ties go to the earlier trial."""
        if self._best_first is not None:
            return self._best_first
        done = [
            trial
            for trial in self.all()
            if trial.state == TrialState.COMPLETE
            and DUPLICATE not in trial.user_attrs
            and all(amount <= 0 for amount in trial.constraints.values())
        ]
        sign = -1 if self._maximize else 1
        self._best_first = sorted(done, key=lambda trial: (sign * trial.values[0], trial.number))
        return self._best_first

    @property
    def outcome_known(self) -> bool:
        """True if no paused trial has to be continued before the best one can be confirmed."""
        return self._best_paused() is None

    def limit(self, number: int) -> int | None:
        """Return the amount of the resource up to which a trial may run; None if to its end."""
        return self._promotions.limit(number)

    def paused(self) -> list[int]:
        """Return the numbers of the trials that are paused at their limit."""
        return self._promotions.paused()

    def ask(self) -> Suggestion:
        """Suggest the next configuration and store it. A paused trial that is promoted comes before a new one."""
        if promotable := self._promotions.promotable():
            return self._promote(promotable[0])
        number = len(self.all())
        sampler = make_sampler(self._tune, number, self.startup, self._space)
        params = self._study.sample(
            sampler, self._space, self._fixed(number), self._promotions.unfinished_with_scores()
        )
        original = self._tried.add(params, number)
        # The evolutionary sampler stores the generation of each trial.
        self._study.store({} if original is None else {DUPLICATE: original}, self._tune.sampler == "nsga2")
        return self.suggestion(number)

    def promote_best_paused(self) -> Suggestion | None:
        """Promote a paused trial after all were tried, because none is complete with a usable score.

        None if one is, or while others run.
        """
        return None if (number := self._best_paused()) is None else self._promote(number)

    def tell(
        self,
        number: int,
        value: float | None,
        pruned: bool = False,
        costs: Sequence[float] = (),
        excess: Mapping[str, float] | None = None,
    ) -> None:
        """Tell Optuna the result of a trial.

        Args:
            number: of the trial.
            value: its validation metric; None for a failure.
            pruned: whether it was ended early.
            costs: the values of `tune.objectives`, in that order.
            excess: by constraint, the excess over its limit; 0 or less satisfies it.
        """
        self._study.tell(number, None if value is None else [value, *costs], pruned, excess)
        self._best_first = None

    def report(self, number: int, rung: int, value: float) -> None:
        """Store the score of a trial at a rung; one that was reported before is kept."""
        self._study.report(number, rung, value)

    def should_prune(self, number: int) -> bool:
        """Return whether a running trial should be ended."""
        return self._study.should_prune(number)

    def _best_paused(self) -> int | None:
        return None if self.complete() else self._promotions.best_paused()

    def _promote(self, number: int) -> Suggestion:
        self._promotions.promote(number)
        return self.suggestion(number)

    def _fixed(self, number: int) -> dict[str, Any] | None:
        """Return the values that are fixed for a trial, all or some of its keys; None leaves all to the sampler."""
        if number < len(self._first):
            return self._first[number]
        if self._tune.sampler == "grid" or self._repeats() >= REPEATS:
            return self._tried.first_untried(configurations(self._space))
        return None

    def _repeats(self) -> int:
        """Return how many of the latest suggestions in a row were duplicates; 0 for an infinite space."""
        if self._tried.size is None:
            return 0
        return sum(1 for _ in itertools.takewhile(lambda trial: DUPLICATE in trial.user_attrs, reversed(self.all())))


class SingleCellTrials(Trials):
    """The trials of a cell that has an Optuna study of its own (a `TrialSource`)."""

    @property
    def is_finalist(self) -> bool:
        """True: the best configuration of each cell is confirmed."""
        return True

    @property
    def unclaimed(self) -> int | None:
        """None: no other cell suggests configurations for this one."""
        return None

    def suggest(self, new: bool = True) -> Suggestion | None:
        """Suggest the next configuration; None without `new`, because each is started when it is sampled."""
        return self.ask() if new else None
