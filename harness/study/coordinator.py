"""The coordinator: the one process that proposes trials, batches and submits runs, and tells Optuna their results.

A new run starts as soon as there is capacity; there is no batch barrier. The coordinator holds the study's lock, is the
only process that opens the Optuna storage, and takes results only from records on disk.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.schema import LaunchConfig
from harness.launch import Job, Launcher, Outcome
from harness.launch.run_batching import batch_key, max_fused
from harness.records.files import now
from harness.records.record import Record
from harness.records.run_records import RunRecords, close_unfinished, note_failure
from harness.records.run_spec import RunBatch, RunPaths, RunSpec
from harness.study.budget import Budget
from harness.study.cell_scheduler import CellScheduler
from harness.study.live_view import LiveView
from harness.study.replication import Replication
from harness.study.running_trial_pruner import RunningTrialPruner
from harness.study.stop_requests import POLL_SECONDS, StopRequests


class Coordinator:
    """Runs the cells of a study until all are done, or until the study is interrupted.

    Args:
        contests: the schedulers of the cells.
        launcher: starts their runs.
        records: of the study.
        launch: how often a lost run is retried, and how many runs share passes.
        prune: whether running trials that do worse than others are ended.
        progress: the live view for the user.
        interrupt: the requests to stop.
        budget: of the study; it may end the tuning, and the study.
        replication: gives more seeds to the cells whose verdict is open.
    """

    def __init__(
        self,
        contests: Sequence[CellScheduler],
        launcher: Launcher,
        records: RunRecords,
        launch: LaunchConfig,
        prune: bool,
        progress: LiveView,
        interrupt: StopRequests,
        budget: Budget,
        replication: Replication,
    ) -> None:
        self._contests, self._launcher, self._records = contests, launcher, records
        self._launch, self._progress, self._interrupt = launch, progress, interrupt
        self._losers = RunningTrialPruner() if prune else None
        self._budget, self._replication = budget, replication
        self._under_way: dict[str, tuple[CellScheduler, Job]] = {}  # by the run's directory
        self._held: list[tuple[CellScheduler, RunSpec]] = []  # already drawn from a cell, but unfit for the last batch
        self._batch_limits: dict[str, int] = {}  # by the directory of a run that was lost together with others
        self._seconds: list[float] = []
        self._stopping = False
        self._told_given_up: set[str] = set()
        self._architectures = {each.id: each.ready.architecture for each in contests}
        self._kinds = {
            (each.id, phase): self._kind_of(each.id, each.ready.base, phase)
            for each in contests
            for phase in ("tune", "confirm")
        }

    def run(self) -> bool:
        """Run until nothing is left. Return False if the study was interrupted, or its budget was spent, before."""
        self._budget.watch(self._contests)
        self._replicate()  # seeds granted before a restart may have runs under way
        self._recover()
        while True:
            if self._interrupt.leaving is not None:
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
            if self._losers is not None and not self._stopping:
                self._losers.prune(self._under_way)
            self._show()
        if self._stopping or self._must_stop():  # an inline launcher executes runs within `submit`, so it may end here
            self._replicate()
            if not all(contest.done for contest in self._contests):
                return False
        for contest in self._contests:
            close_unfinished(self._records, contest.id, "Not needed any more: the study went on without it.")
        return True

    def _replicate(self) -> bool:
        """Take all looks that are due. Return whether a cell got more seeds."""
        granted = False
        while self._replication.advance():
            granted = True
        return granted

    def _must_stop(self) -> bool:
        return self._interrupt() or self._budget.exhausted(self._jobs_of_runs)

    def _recover(self) -> None:
        """Take over the jobs that an earlier coordinator left under way."""
        contests = {contest.id: contest for contest in self._contests}
        found = 0
        for job in self._launcher.recover():
            wanted = 0
            for spec in job.runs:
                contest = contests.get(spec.cell)
                if contest is not None and contest.adopt(spec):
                    self._under_way[spec.directory] = contest, job
                    wanted += 1
            found += wanted
            if not wanted:
                self._launcher.forget(job)
        if found:
            self._progress.say(f"{found} runs of an earlier coordinator are under way; they are taken over.")

    def _fill(self) -> None:
        """Submit runs until the launcher is full; the cell with the fewest started runs comes first."""
        while self._jobs() < self._launcher.capacity and not self._must_stop():
            if not (chosen := self._next_batch()):
                return
            for _, spec in chosen:
                spec.paths.stop.unlink(missing_ok=True)
            job = self._launcher.submit(self._batch([spec for _, spec in chosen]))
            for contest, spec in chosen:
                self._under_way[spec.directory] = contest, job
            self._show()
            if self._launcher.immediate:  # the result is there already; the next suggestion should use it
                for outcome in self._launcher.wait(0):
                    self._settle(outcome)

    def _jobs(self) -> int:
        return len(set(self._jobs_of_runs.values()))

    @property
    def _jobs_of_runs(self) -> dict[str, Hashable]:
        """The identity of the job of each run under way, by the run's directory."""
        return {directory: id(job) for directory, (_, job) in self._under_way.items()}

    def _next_batch(self) -> list[tuple[CellScheduler, RunSpec]]:
        """Return the runs that start next as one batch: as many as may share a job, or passes through one backbone."""
        found = self._held.pop(0) if self._held else self._next(self._contests)
        if found is None:
            return []
        chosen = [found]
        kind = self._kind(found[1])
        most_runs = 1 if self._budget.blind else self._launcher.runs_per_job or self._abreast(kind)
        while len(chosen) < min(self._batch_limits.get(spec.directory, most_runs) for _, spec in chosen):
            if self._budget.exhausted(self._jobs_of_runs | {spec.directory: "next" for _, spec in chosen}):
                break  # chosen runs count as begun: the budget must pay for them before further ones
            following = self._held.pop(0) if self._held else self._next(self._able(kind, found[1].cell))
            if following is None:
                break
            limit = self._batch_limits.get(following[1].directory, most_runs)
            if len(chosen) >= limit or not self._alike(following[1], found[1]):
                self._held.insert(0, following)
                break
            chosen.append(following)
        return chosen

    def _kind(self, spec: RunSpec) -> str | None:
        """Return the key that runs which share passes have in common; None if this run cannot, or should not, share."""
        return self._kind_of(spec.cell, spec.config, spec.phase)

    def _kind_of(self, cell: str, config: Mapping[str, Any], phase: str) -> str | None:
        if not self._launcher.fuses or max_fused(self._launch) == 1:
            return None
        return batch_key(config, self._architectures[cell], phase)

    def _alike(self, one: RunSpec, other: RunSpec) -> bool:
        """Return whether two runs may share a job. Fused runs pause at the same rung, so none waits for another."""
        if self._launcher.fuses and (self._kind(one), one.until) != (self._kind(other), other.until):
            return False
        return self._launcher.group(one) == self._launcher.group(other)

    def _able(self, kind: str | None, cell: str = "") -> list[CellScheduler]:
        """Return the cells whose next run may join a job that has a run of this kind and of this cell."""
        if not self._launcher.fuses:
            return list(self._contests)
        if self._launcher.runs_per_job is not None:  # runs of one job execute independently, so none waits for another
            return [each for each in self._contests if each.id == cell or self._kind_next(each) == kind]
        return [each for each in self._contests if self._kind_next(each) == kind and self._ready(each) > 0]

    def _kind_next(self, contest: CellScheduler) -> str | None:
        """Return the kind of a cell's next run at the cell's base configuration."""
        return self._kinds[contest.id, "confirm" if contest.tuning_over else "tune"]

    def _ready(self, contest: CellScheduler) -> int:
        """Return how many of a cell's runs may join batches now."""
        return contest.startable_without_feedback if self._launch.fuse == "auto" else contest.startable_now

    def _abreast(self, kind: str | None) -> int:
        """Return how many runs of a kind share passes: at most one worker's part of the runs waiting or under way."""
        if kind is None:
            return 1
        able = self._able(kind)
        # Keyed by possible cells, so that the trials of a joint study count once.
        new = {each.possible_cells: self._ready(each) - len(each.waiting) for each in able}
        waiting = 1 + sum(len(each.waiting) for each in able) + sum(new.values())
        return min(max_fused(self._launch), math.ceil((waiting + len(self._under_way)) / self._launcher.capacity))

    def _batch(self, runs: Sequence[RunSpec]) -> RunBatch:
        """Make a batch of runs; those that can share passes are under way at the same time."""
        together = 1 if self._kind(runs[0]) is None else min(len(runs), max_fused(self._launch))
        return RunBatch(tuple(runs), together, self._launch.fuse == "auto", self._launcher.co_located)

    def _next(self, contests: Sequence[CellScheduler]) -> tuple[CellScheduler, RunSpec] | None:
        for contest in sorted(contests, key=lambda contest: contest.started):
            if not self._budget.before(contest):
                continue
            spec = contest.next()
            if contest.gave_up and contest.id not in self._told_given_up:
                self._told_given_up.add(contest.id)
                self._progress.say(contest.gave_up, "red")
            if spec is not None:
                return contest, spec
        return None

    def _settle(self, outcome: Outcome) -> None:
        runs = outcome.job.batch.runs if outcome.runs is None else outcome.runs
        unfinished = []
        for spec in runs:
            contest, job = self._under_way.get(spec.directory, (None, None))
            if contest is None or job is not outcome.job:
                continue  # an unwanted run of a job that was taken over; another job may execute it
            del self._under_way[spec.directory]
            record = self._records.refresh(spec.paths)
            if record is None or record.signature != spec.signature:
                unfinished.append((contest, spec, record))
            elif record.status != "running":
                contest.settle(spec, record)
                self._say(spec, record, contest)
            elif contest.pause(spec):
                self._say(spec, record, contest)
            else:
                unfinished.append((contest, spec, record))
        # Runs of a job mostly execute one after another, so a loss counts against those that had begun, if any had.
        begun = [
            spec
            for _, spec, record in unfinished
            if (record is not None if outcome.begun is None else spec.directory in outcome.begun)
        ]
        suspects = len(begun or unfinished)
        for contest, spec, _ in unfinished:
            if begun and spec not in begun and not self._must_stop():
                self._limit(spec, outcome, suspects)
                contest.again(spec)
            else:
                self._unfinished(contest, spec, outcome, suspects)

    def _limit(self, spec: RunSpec, outcome: Outcome, suspects: int) -> bool:
        """After a loss that other runs of the job may have caused, let a run share its next job with fewer runs.

        After a lack of memory, the run shares with half as many. After another loss of runs that were under way
        together, each goes on alone: this shows which run was at fault, and the failure counts against that run only.

        Returns:
            Whether the run shares with fewer; False if no other run can have caused the loss.
        """
        size = len(outcome.job.batch.runs)
        if outcome.blame == "memory" and size > 1:
            self._batch_limits[spec.directory] = max(1, size // 2)
            return True
        if outcome.lost is not None and outcome.blame == "run" and outcome.job.batch.together > 1 and suspects > 1:
            self._batch_limits[spec.directory] = 1
            return True
        return False

    def _unfinished(self, contest: CellScheduler, spec: RunSpec, outcome: Outcome, suspects: int) -> None:
        """Handle a run that ended without a finished record: it was asked to stop, or it was lost.

        Args:
            contest: its cell.
            spec: the run.
            outcome: of its job.
            suspects: how many of the job's runs may have caused a loss, this one included.
        """
        if self._must_stop():
            contest.again(spec)
            return
        reason = outcome.lost or "Its process ended the run without a record."
        smaller = self._limit(spec, outcome, suspects)
        elsewhere = outcome.blame == "place" or smaller
        failures = note_failure(spec.paths, reason, elsewhere)
        allowed = self._launcher.places if elsewhere else self._launch.retries
        if failures <= allowed:
            how = "Placed anew." if elsewhere else f"Trying again ({failures} of {allowed})."
            self._progress.say(f"{_name(spec)}: {reason} {how}", "yellow")
            contest.again(spec)
            return
        times = "once" if failures == 1 else f"{failures} times"
        rule = f"slurm.max_requeues={allowed}" if elsewhere else f"launch.retries={allowed}"
        record = spec.new_record("lost", f"{reason} Tried {times} ({rule}).")
        record.ended = now()
        spec.paths.directory.mkdir(parents=True, exist_ok=True)
        record.write(spec.paths.record)
        self._records.refresh(spec.paths)
        contest.settle(spec, record)
        self._say(spec, record, contest)

    def _stop(self) -> None:
        self._stopping = True
        if self._under_way:
            why = "Stopping" if self._interrupt() else f"{self._budget.described} is spent"
            self._progress.say(
                f"{why}: {len(self._under_way)} runs under way write a checkpoint. Ctrl-C again ends them now."
            )
        for directory in self._under_way:
            RunPaths(Path(directory)).ask("checkpoint")
        self._launcher.withdraw()

    def _say(self, spec: RunSpec, record: Record, contest: CellScheduler) -> None:
        seconds = record.cost.get("total_seconds")
        paused = record.status == "running"
        if seconds is not None and not paused:
            self._seconds.append(float(seconds))
        metric = contest.ready.cell.metric
        parts = [f"{_name(spec)}: {f'paused at {spec.until} {spec.resource}' if paused else record.status}"]
        for split, label in (("val", "val"), ("test", "test")):
            value = record.metrics[split].get(metric)
            if value is not None:
                parts.append(f"{label} {metric} {value:.4f}")
        if seconds is not None:
            parts.append(f"{seconds:.1f} s")
        if record.error:
            parts.append(record.error)
        style = {"ok": "", "pruned": "dim", "running": "dim"}.get(record.status, "red")
        self._progress.say(", ".join(parts), style)

    def _show(self) -> None:
        if not self._progress.due:
            return
        left = None
        if self._seconds:
            runs = sum(contest.left() for contest in self._contests)
            if not math.isinf(runs):
                left = runs * sum(self._seconds) / len(self._seconds) / self._launcher.capacity
        self._progress.show([contest.view() for contest in self._contests], left)


def _name(spec: RunSpec) -> str:
    what = f"trial {spec.trial}" if spec.phase == "tune" else f"confirmation, seed {spec.config['seed']}"
    return f"{spec.cell} {what}"
