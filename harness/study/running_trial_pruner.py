"""Ending trials that do worse than others while they run, by one of Optuna's pruners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.launch import Job
from harness.records.run_spec import RunSpec
from harness.search.rung_scores import JsonlTail, scores
from harness.study.cell_scheduler import CellScheduler


class RunningTrialPruner:
    """Reports what runs under way were judged by, and asks those to end that a pruner gives up."""

    def __init__(self) -> None:
        self._files = JsonlTail()
        self._judged: dict[str, int] = {}  # by directory, the rung at which a run was judged last

    def prune(self, under_way: Mapping[str, tuple[CellScheduler, Job]]) -> None:
        """Look at all runs, then judge: a run of a job when the others in it have come as far.

        Where they are not all under way at once, one that has reached no rung may begin only after others have ended,
        and is not waited for.

        Args:
            under_way: by the run's directory, its cell and its job.
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
            least = 0 if job.pack.together >= len(job.pack.runs) else 1
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
    """The rungs at which a run has been judged."""
    steps: Mapping[int, float] = contest.trials.trial(spec.trial or 0).intermediate_values
    return steps


def _goes_on(spec: RunSpec) -> bool:
    """Whether a run may still come to a rung that it has not reached."""
    return not spec.paths.stop.exists() and spec.result() is None
