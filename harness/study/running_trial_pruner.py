"""Pruning of running trials by one of Optuna's pruners."""

from __future__ import annotations

from collections.abc import Mapping

from harness.launch import Job
from harness.records.run_spec import RunSpec
from harness.records.states import StopRequest
from harness.search.rung_scores import JsonlTail, scores
from harness.study.cell_scheduler import CellScheduler


class RunningTrialPruner:
    """Reports the scores of running trials at rungs, and asks those runs to end that the pruner prunes."""

    def __init__(self) -> None:
        self._files = JsonlTail()
        self._decided: dict[str, int] = {}  # by the run's directory, the last rung at which the pruner decided

    def prune(self, under_way: Mapping[str, tuple[CellScheduler, Job]]) -> None:
        """Report the new scores of all runs, then decide on each run once the others of its job have come as far.

        If the runs of a job are not all under way at once, a run that has reached no rung may begin only after others
        have ended, so it is not waited for.

        Args:
            under_way: the cell and the job of each run, by the run's directory.
        """
        runs = [
            (scheduler, job, spec)
            for directory, (scheduler, job) in under_way.items()
            if (spec := scheduler.runs.active.get(directory)) is not None and spec.rungs and spec.trial is not None
        ]
        for scheduler, _, spec in runs:
            new = scores(self._files.lines(spec.paths.metrics), spec.rungs, scheduler.cell.metric)
            scheduler.tuning.feedback.report(spec.trial or 0, new)
        reached = {
            spec.directory: scheduler.tuning.feedback.highest_rung(spec.trial or 0) for scheduler, _, spec in runs
        }
        for scheduler, job, spec in runs:
            rung = reached[spec.directory]
            if rung <= self._decided.get(spec.directory, 0) or spec.paths.stop.exists():
                continue
            others = [other for _, job_of_other, other in runs if job_of_other is job and other is not spec]
            least = 0 if job.batch.together >= len(job.batch.runs) else 1
            if any(least <= reached[other.directory] < rung and _may_continue(other) for other in others):
                continue
            self._decided[spec.directory] = rung
            if scheduler.tuning.feedback.should_prune(spec.trial or 0):
                spec.paths.ask(StopRequest.PRUNE)
        self._forget(under_way)

    def _forget(self, under_way: Mapping[str, object]) -> None:
        for directory in self._decided.keys() - under_way.keys():
            del self._decided[directory]
        self._files.keep(under_way)


def _may_continue(spec: RunSpec) -> bool:
    """Return whether a run may still reach further rungs."""
    return not spec.paths.stop.exists() and spec.result() is None
