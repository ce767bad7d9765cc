"""What the search hears of a cell's runs: scores at rungs while they run, results when they have ended."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.trial import TrialState

from harness.config.schema import TuneConfig
from harness.records.record import Record
from harness.records.run_spec import RunSpec
from harness.records.states import RunStatus
from harness.search.rung_scores import rung_scores
from harness.search.trial_result import TrialResult, trial_result
from harness.search.trial_source import TrialSource


class TrialFeedback:
    """Reports scores and results of runs to the trials of a cell, and results of trials to their duplicates.

    Args:
        trials: of the cell.
        metric: the metric that is the score.
        tune: names the costs that are part of a result.
    """

    def __init__(self, trials: TrialSource, metric: str, tune: TuneConfig) -> None:
        self._trials, self._metric, self._tune = trials, metric, tune
        self._duplicates: dict[int, list[int]] = {}  # trial under way -> its duplicates, which wait for its result

    def report(self, number: int, scores: Mapping[int, float]) -> None:
        """Report the scores of a trial at rungs, by rung."""
        for rung, value in scores.items():
            self._trials.report(number, rung, value)

    def report_file(self, spec: RunSpec, number: int) -> None:
        """Report the scores at rungs of a run that ended or is paused: other trials are compared with them."""
        if spec.rungs and (scores := rung_scores(spec, self._metric)):
            self.report(number, scores)
            self._trials.should_prune(number)  # a pruner stores the rung that a trial has reached only when asked

    def highest_rung(self, number: int) -> int:
        """Return the highest rung at which a trial has a score; 0 before the first."""
        return max(self._trials.trial(number).intermediate_values, default=0)

    def should_prune(self, number: int) -> bool:
        """Return whether a running trial should be ended."""
        return self._trials.should_prune(number)

    def ended(self, number: int) -> bool:
        """Return whether a trial has its result."""
        return bool(self._trials.trial(number).state.is_finished())

    def tell(self, number: int, record: Record) -> None:
        """Tell the result of a trial, and of the duplicates that wait for it."""
        result = trial_result(record, self._metric, self._tune)
        self._tell(number, result, record.status == RunStatus.PRUNED)
        for duplicate in self._duplicates.pop(number, []):
            self._tell(duplicate, result)

    def tell_duplicate(self, number: int, original: int) -> None:
        """Tell a duplicate the result of the original trial, now or once that has ended."""
        trial = self._trials.trial(original)
        if trial.state.is_finished():
            # The value of a pruned trial is its score at the last rung, not that of a whole run.
            value, *costs = (trial.values if trial.state == TrialState.COMPLETE else None) or [None]
            self._tell(number, TrialResult(value, tuple(costs), trial.constraints))
        else:
            self._duplicates.setdefault(original, []).append(number)

    def _tell(self, number: int, result: TrialResult, pruned: bool = False) -> None:
        self._trials.tell(number, result.value, pruned, result.costs, result.excess)
