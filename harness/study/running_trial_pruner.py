"""Pruning of running trials by one of Optuna's pruners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.launch import Job
from harness.records.run_spec import RunSpec
from harness.search.rung_scores import JsonlTail, scores
from harness.study.cell_scheduler import CellScheduler


class RunningTrialPruner:
    """Reports the scores of running trials at rungs, and asks those runs to end that the pruner prunes."""

    def __init__(self) -> None:
        self._files = JsonlTail()
        self._judged: dict[str, int] = {}  # by the run's directory, the last rung at which the pruner decided

    def prune(self, under_way: Mapping[str, tuple[CellScheduler, Job]]) -> None:
        """Report the new scores of all runs, then decide on each run once the others of its job have come as far.

        If the runs of a job are not all under way at once, a run that has reached no rung may begin only after others
        have ended, so it is not waited for.

        Args:
            under_way: the cell and the job of each run, by the run's directory.
        """
        runs = [
            (contest, job, spec)
            for directory, (contest, job) in under_way.items()
            if (spec := contest.active.get(directory)) is not None and spec.rungs and spec.trial is not None
        ]
        for contest, _, spec in runs:
            new = scores(self._files.lines(spec.paths.metrics), spec.rungs, contest.ready.cell.metric)
            for rung, value in new.items():
                contest.trials.report(spec.trial or 0, rung, value)
        reached = {spec.directory: max(_seen(contest, spec), default=0) for contest, _, spec in runs}
        for contest, job, spec in runs:
            rung = reached[spec.directory]
            if rung <= self._judged.get(spec.directory, 0) or spec.paths.stop.exists():
                continue
            others = [each for _, its, each in runs if its is job and each is not spec]
            least = 0 if job.batch.together >= len(job.batch.runs) else 1
            if any(least <= reached[each.directory] < rung and _goes_on(each) for each in others):
                continue
            self._judged[spec.directory] = rung
            if contest.trials.should_prune(spec.trial or 0):
                spec.paths.ask("prune")
        self._forget(under_way)

    def _forget(self, under_way: Mapping[str, object]) -> None:
        for directory in self._judged.keys() - under_way.keys():
            del self._judged[directory]
        self._files.keep(under_way)


def _seen(contest: CellScheduler, spec: RunSpec) -> Iterable[int]:
    """Return the rungs at which a run has a score."""
    steps: Mapping[int, float] = contest.trials.trial(spec.trial or 0).intermediate_values
    return steps


def _goes_on(spec: RunSpec) -> bool:
    """Return whether a run may still reach further rungs."""
    return not spec.paths.stop.exists() and spec.result() is None
