"""The coordinator: the one process that proposes trials, batches and submits runs, and tells Optuna their results.

A new run starts as soon as there is capacity; there is no batch barrier. The coordinator holds the study's lock, is the
only process that opens the Optuna storage, and takes results only from records on disk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness.config.schema import LaunchConfig
from harness.launch import Launcher, Outcome
from harness.records.record import Record
from harness.records.run_records import RunRecords, close_unfinished
from harness.records.run_spec import RunSpec
from harness.records.states import RunStatus, StopRequest
from harness.records.study_files import RunPaths
from harness.study.budget import Budget
from harness.study.cell_scheduler import CellScheduler
from harness.study.coordination.batch_composer import BatchComposer
from harness.study.coordination.losses import Losses
from harness.study.coordination.run_messages import run_message
from harness.study.coordination.runs_under_way import RunsUnderWay
from harness.study.live_view import LiveView
from harness.study.replication import Replication
from harness.study.running_trial_pruner import RunningTrialPruner
from harness.study.stop_requests import POLL_SECONDS, StopRequests


class Coordinator:
    """Runs the cells of a study until all are done, or until the study is interrupted.

    Args:
        schedulers: of the cells.
        launcher: starts their runs.
        records: of the study.
        launch: how often a lost run is retried, and how many runs share passes.
        prune: whether running trials that do worse than others are ended.
        view: the live view for the user.
        stop_requests: of the user.
        budget: of the study; it may end the tuning, and the study.
        replication: gives more seeds to the cells whose verdict is open.
    """

    def __init__(
        self,
        schedulers: Sequence[CellScheduler],
        launcher: Launcher,
        records: RunRecords,
        launch: LaunchConfig,
        prune: bool,
        view: LiveView,
        stop_requests: StopRequests,
        budget: Budget,
        replication: Replication,
    ) -> None:
        self._schedulers, self._launcher, self._records = schedulers, launcher, records
        self._view, self._stop_requests = view, stop_requests
        self._pruner = RunningTrialPruner() if prune else None
        self._budget, self._replication = budget, replication
        self._composer = BatchComposer(schedulers, launcher, launch, budget, self._report_given_up)
        self._losses = Losses(launcher, launch, self._composer.limit, view.say)
        self._under_way = RunsUnderWay()
        self._durations: list[float] = []  # seconds of the runs that ended
        self._stopping = False

    def run(self) -> bool:
        """Run until nothing is left. Return False if the study was interrupted, or its budget was spent, before."""
        self._budget.watch(self._schedulers)
        self._replicate()  # seeds granted before a restart may have runs under way
        self._recover()
        while True:
            if self._stop_requests.leaving is not None:
                return False
            if self._must_stop() and not self._stopping:
                self._stop()
            if not self._stopping:
                self._replicate()
                self._fill()
            if not self._under_way:
                if self._stopping or not self._replicate():
                    break
                continue
            for outcome in self._launcher.wait(POLL_SECONDS):
                self._settle(outcome)
            if self._pruner is not None and not self._stopping:
                self._pruner.prune(self._under_way.by_directory)
            self._show()
        if self._stopping or self._must_stop():  # an inline launcher executes runs within `submit`, so it may end here
            self._replicate()
            if not all(scheduler.done for scheduler in self._schedulers):
                return False
        for scheduler in self._schedulers:
            close_unfinished(self._records, scheduler.id, "Not needed any more: the study went on without it.")
        return True

    def _replicate(self) -> bool:
        """Take all looks that are due. Return whether a cell got more seeds."""
        granted = False
        while self._replication.advance():
            granted = True
        return granted

    def _must_stop(self) -> bool:
        return self._stop_requests() or self._budget.exhausted(self._under_way.jobs)

    def _recover(self) -> None:
        """Take over the jobs that an earlier coordinator left under way."""
        taken_over = 0
        for job in self._launcher.recover():
            wanted = 0
            for spec in job.runs:
                for scheduler in self._schedulers:
                    if scheduler.id == spec.cell and scheduler.take_over(spec):
                        self._under_way.add(spec, scheduler, job)
                        wanted += 1
                        break
            taken_over += wanted
            if not wanted:
                self._launcher.forget(job)
        if taken_over:
            self._view.say(f"{taken_over} runs of an earlier coordinator are under way; they are taken over.")

    def _fill(self) -> None:
        """Submit runs until the launcher is full."""
        while self._under_way.number_of_jobs < self._launcher.capacity and not self._must_stop():
            if not (batch := self._composer.next(self._under_way.jobs)):
                return
            for _, spec in batch:
                spec.paths.stop.unlink(missing_ok=True)
            job = self._launcher.submit(self._composer.batch([spec for _, spec in batch]))
            for scheduler, spec in batch:
                self._under_way.add(spec, scheduler, job)
            self._show()
            if self._launcher.immediate:  # the result is there already; the next suggestion should use it
                for outcome in self._launcher.wait(0):
                    self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        """Process the runs that ended with a job: their results, pauses and losses."""
        runs = outcome.job.batch.runs if outcome.runs is None else outcome.runs
        unfinished = []
        for spec in runs:
            scheduler, job = self._under_way.by_directory.get(spec.directory, (None, None))
            if scheduler is None or job is not outcome.job:
                continue  # an unwanted run of a job that was taken over; another job may execute it
            self._under_way.remove(spec.directory)
            record = self._records.refresh(spec.paths)
            if record is None or record.signature != spec.signature:
                unfinished.append((scheduler, spec, record))
            elif record.status != RunStatus.RUNNING:
                scheduler.settle(spec, record)
                self._say(spec, record, scheduler)
            elif scheduler.pause(spec):
                self._say(spec, record, scheduler)
            else:
                unfinished.append((scheduler, spec, record))
        # Runs of a job mostly execute one after another, so a loss counts against those that had begun, if any had.
        begun = [
            spec
            for _, spec, record in unfinished
            if (record is not None if outcome.begun is None else spec.directory in outcome.begun)
        ]
        suspects = len(begun or unfinished)
        for scheduler, spec, _ in unfinished:
            if self._must_stop():
                scheduler.runs.enqueue(spec)
            elif begun and spec not in begun:
                self._losses.reduce_sharing(spec, outcome, suspects)
                scheduler.runs.enqueue(spec)
            elif (record := self._losses.final_record(spec, outcome, suspects)) is None:
                scheduler.runs.enqueue(spec)
            else:
                self._records.refresh(spec.paths)
                scheduler.settle(spec, record)
                self._say(spec, record, scheduler)

    def _stop(self) -> None:
        self._stopping = True
        if self._under_way:
            why = "Stopping" if self._stop_requests() else f"{self._budget.described} is spent"
            self._view.say(
                f"{why}: {len(self._under_way)} runs under way write a checkpoint. Ctrl-C again ends them now."
            )
        for directory in self._under_way.by_directory:
            RunPaths(Path(directory)).ask(StopRequest.CHECKPOINT)
        self._launcher.withdraw()

    def _say(self, spec: RunSpec, record: Record, scheduler: CellScheduler) -> None:
        seconds = record.cost.get("total_seconds")
        if seconds is not None and record.status != RunStatus.RUNNING:
            self._durations.append(float(seconds))
        self._view.say(*run_message(spec, record, scheduler.cell.metric))

    def _report_given_up(self, scheduler: CellScheduler) -> None:
        self._view.say(scheduler.gave_up or "", "red")

    def _show(self) -> None:
        if not self._view.due:
            return
        seconds_left = None
        if self._durations:
            runs = sum(scheduler.workload.left for scheduler in self._schedulers)
            if not math.isinf(runs):
                mean = sum(self._durations) / len(self._durations)
                seconds_left = runs * mean / self._launcher.capacity
        self._view.show([scheduler.view() for scheduler in self._schedulers], seconds_left)
