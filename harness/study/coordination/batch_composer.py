"""Which runs start next, and which of them share a job."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from harness.config.schema import LaunchConfig
from harness.launch import Launcher
from harness.launch.run_batching import batch_key, max_fused
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.states import Phase
from harness.study.budget import Budget
from harness.study.cell_scheduler import CellScheduler

Started = tuple[CellScheduler, RunSpec]  # a run that is started, and its cell


class BatchComposer:
    """Draws runs from the cells and groups them into batches: those that may share a job, or passes in one process.

    Args:
        schedulers: of the cells.
        launcher: executes the batches.
        launch: how many runs share passes.
        budget: of the study.
        given_up: called once with each cell that is given up while runs are drawn.
    """

    def __init__(
        self,
        schedulers: Sequence[CellScheduler],
        launcher: Launcher,
        launch: LaunchConfig,
        budget: Budget,
        given_up: Callable[[CellScheduler], None],
    ) -> None:
        self._schedulers, self._launcher, self._launch, self._budget = schedulers, launcher, launch, budget
        self._given_up = given_up
        self._reported: set[str] = set()  # cells for which `given_up` was called
        self._held: list[Started] = []  # already drawn from a cell, but unfit for the last batch
        self._limits: dict[str, int] = {}  # by the directory of a run that was lost together with others
        self._architectures = {each.id: each.prepared.architecture for each in schedulers}
        self._keys_by_phase = {
            (each.name, phase): self._key_of(each.id, each.prepared.base, phase)
            for each in schedulers
            for phase in (Phase.TUNE, Phase.CONFIRM)
        }

    def limit(self, spec: RunSpec, runs: int) -> None:
        """Let the next job of a run have at most this many runs."""
        self._limits[spec.directory] = runs

    def next(self, jobs: Mapping[str, Hashable]) -> list[Started]:
        """Return the runs that start next as one batch: as many as may share a job, or passes through one backbone.

        Args:
            jobs: the identity of the job of each run under way, by the run's directory.
        """
        first = self._draw(self._schedulers)
        if first is None:
            return []
        batch = [first]
        key = self._key(first[1])
        most_runs = 1 if self._budget.blind else self._launcher.runs_per_job or self._fused_runs(key, len(jobs))
        while len(batch) < min(self._limits.get(spec.directory, most_runs) for _, spec in batch):
            if self._budget.exhausted(jobs, [spec.directory for _, spec in batch]):
                break  # chosen runs count as begun: the budget must pay for them before further ones
            following = self._draw(self._joinable(key, first[1].cell))
            if following is None:
                break
            limit = self._limits.get(following[1].directory, most_runs)
            if len(batch) >= limit or not self._may_share(following[1], first[1]):
                self._held.insert(0, following)
                break
            batch.append(following)
        return batch

    def batch(self, runs: Sequence[RunSpec]) -> RunBatch:
        """Make a batch of runs; those that can share passes are under way at the same time."""
        together = 1 if self._key(runs[0]) is None else min(len(runs), max_fused(self._launch))
        return RunBatch(tuple(runs), together, self._launch.fuse == "auto", self._launcher.co_located)

    def _draw(self, schedulers: Sequence[CellScheduler]) -> Started | None:
        """Return a run that was held back, or else the next run of the cell with the fewest started runs."""
        if self._held:
            return self._held.pop(0)
        asked: int | None = None
        while True:
            for scheduler in sorted(schedulers, key=lambda scheduler: scheduler.runs.started):
                if not self._budget.before(scheduler):
                    continue
                spec = scheduler.next()
                if scheduler.gave_up and scheduler.name not in self._reported:
                    self._reported.add(scheduler.name)
                    self._given_up(scheduler)
                if spec is not None:
                    return scheduler, spec
            # In a joint study the last cells asked may have drawn a configuration for one that was asked before them.
            drawn = next((each.trials.unclaimed for each in schedulers if each.trials.unclaimed is not None), None)
            if drawn is None or drawn == asked:
                return None
            asked = drawn

    def _key(self, spec: RunSpec) -> str | None:
        """Return the key that runs which share passes have in common; None if this run cannot, or should not, share."""
        return self._key_of(spec.cell, spec.config, spec.phase)

    def _key_of(self, cell: str, config: Mapping[str, Any], phase: str) -> str | None:
        if not self._launcher.fuses or max_fused(self._launch) == 1:
            return None
        return batch_key(config, self._architectures[cell], phase)

    def _next_key(self, scheduler: CellScheduler) -> str | None:
        """Return the key of a cell's next run, at the cell's base configuration."""
        return self._keys_by_phase[scheduler.name, Phase.CONFIRM if scheduler.tuning.over else Phase.TUNE]

    def _may_share(self, one: RunSpec, other: RunSpec) -> bool:
        """Return whether two runs may share a job. Fused runs pause at the same rung, so none waits for another."""
        if self._launcher.fuses and (self._key(one), one.until) != (self._key(other), other.until):
            return False
        return self._launcher.group(one) == self._launcher.group(other)

    def _joinable(self, key: str | None, cell: str = "") -> list[CellScheduler]:
        """Return the cells whose next run may join a job that has a run with this key and of this cell."""
        if not self._launcher.fuses:
            return list(self._schedulers)
        if self._launcher.runs_per_job is not None:  # runs of one job execute independently, so none waits for another
            return [each for each in self._schedulers if each.id == cell or self._next_key(each) == key]
        return [each for each in self._schedulers if self._next_key(each) == key and self._startable(each) > 0]

    def _startable(self, scheduler: CellScheduler) -> int:
        """Return how many of a cell's runs may join batches now."""
        workload = scheduler.workload
        return workload.startable_without_feedback if self._launch.fuse == "auto" else workload.startable_now

    def _fused_runs(self, key: str | None, under_way: int) -> int:
        """Return how many runs share passes: at most one worker's part of the runs waiting or under way."""
        if key is None:
            return 1
        joinable = self._joinable(key)
        # Keyed by possible cells, so that the trials of a joint study count once.
        new = {each.workload.possible_cells: self._startable(each) - len(each.runs.waiting) for each in joinable}
        waiting = 1 + sum(len(each.runs.waiting) for each in joinable) + sum(new.values())
        return min(max_fused(self._launch), math.ceil((waiting + under_way) / self._launcher.capacity))
