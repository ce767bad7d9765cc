"""The budget of a whole study, and how the study ends under it.

Tuning ends while the budget still suffices to confirm the best configuration of every cell, and after the same number
of trials for all cells, so that the comparison stays fair. When the budget is spent, runs under way write a checkpoint
and end.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

from harness.config.schema import BudgetConfig, Config
from harness.errors import HarnessError
from harness.formatting.values import dollars, duration, plural
from harness.records.run_records import RunRecords
from harness.records.states import Phase, RunStatus, StudyEnd
from harness.study.cell_scheduler import CellScheduler
from harness.study.spending import Spending

MARGIN = 1.2  # safety factor on the time reserved for confirmation, as run times differ
# Time of a confirmation relative to a trial, before one was seen: it also evaluates the test split and measures costs.
CONFIRM = 1.3


class Budget:
    """Decides whether another trial may start and whether the study must end.

    Args:
        limits: the `budget` section.
        spending: so far.
        records: of the study.
        capacity: runs that execute at once.
        say: prints a line for the user.

    Attributes:
        closed: whether the budget ended the tuning.
    """

    def __init__(
        self, limits: BudgetConfig, spending: Spending, records: RunRecords, capacity: int, say: Callable[[str], None]
    ) -> None:
        self._limits, self._spending, self._records, self._capacity, self._say = (
            limits,
            spending,
            records,
            capacity,
            say,
        )
        self._schedulers: Sequence[CellScheduler] = ()
        self._rounds = 1  # trials that every cell may start; 1, as durations are unknown before the first
        self._jobs: Mapping[str, Hashable] = {}  # by directory of a run under way
        # By job with runs under way: when it began, and how many of its runs have ended.
        self._began: dict[Hashable, float] = {}
        self._left: dict[Hashable, int] = {}
        self.closed = False

    def watch(self, schedulers: Sequence[CellScheduler]) -> None:
        """Set the cells that share the budget."""
        self._schedulers = schedulers

    def exhausted(self, under_way: Mapping[str, Hashable] | None = None, next_job: Sequence[str] = ()) -> bool:
        """Return whether the budget is spent.

        Args:
            under_way: the job of each run under way, by the run's directory; None if the caller does not know them.
            next_job: directories of runs that begin next, in one job.
        """
        limited = self._limits.seconds is not None or self._limits.dollars is not None
        if under_way is not None:
            if limited and next_job:
                under_way = {**under_way, **dict.fromkeys(next_job, "next")}
            self._spending.under_way = under_way
            if limited:  # else nobody asks how long the jobs will take
                self._follow(under_way)
        self._spending.tick()
        return self.room() <= 0

    def room(self) -> float:
        """Return the wall seconds that are left, at the present price; infinite without a budget."""
        limits, spending = self._limits, self._spending
        room = float("inf") if limits.seconds is None else limits.seconds - spending.seconds
        if limits.dollars is not None and (spent := spending.dollars) is not None and spending.slot_rate:
            room = min(room, (limits.dollars - spent) / (spending.slot_rate * self._capacity))
        return room

    def fits(self, seconds: float) -> bool:
        """Return whether runs of this total duration in seconds fit into the budget besides the runs under way."""
        return seconds / self._capacity + self._under_way() <= self.room()

    @property
    def blind(self) -> bool:
        """True if there is a budget but no trial duration is known yet: each trial is then a job of its own."""
        lengths = (self._records.tally.lengths(each.id, Phase.TUNE).runs for each in self._schedulers)
        return self.room() != float("inf") and not any(lengths)

    def before(self, scheduler: CellScheduler) -> bool:
        """End the tuning of all cells if the cell's next trial would leave too little for confirmation.

        Cells that are tuned for a number of trials all get the same number: a round of trials, one a cell, starts only
        if the budget pays for all of it. Before any duration is known, no more trials start than execute at once.

        Returns:
            Whether the cell may start a run now; otherwise it waits for one that is under way.
        """
        if self.closed or self.room() == float("inf") or scheduler.tuning.over:
            return True
        going_on = sum(len(each.runs.active) for each in self._schedulers)
        if self.blind and not scheduler.runs.waiting and going_on >= self._capacity:
            return False
        counted = scheduler.tuning.planned is not None
        if counted and scheduler.tuning.tried < self._rounds:
            return True  # the trial belongs to a round that the budget pays for
        going = [each for each in self._schedulers if not each.tuning.over] if counted else [scheduler]
        tried = scheduler.tuning.tried
        trials = [self._trial(each) for each in going for _ in range(tried + 1 - min(tried, each.tuning.tried))]
        needed = self._wall(trials) + MARGIN * self._confirmation()
        if needed + self._under_way() <= self.room():
            self._rounds = tried + 1
            return True
        self.closed = True
        for each in self._schedulers:
            each.tuning.close()
        self._say(
            f"The budget leaves no room for more trials ({duration(max(0.0, self.room()))} of {self.described} left): "
            "the best so far of each cell is confirmed."
        )
        return True

    @property
    def described(self) -> str:
        """The budget as the user wrote it."""
        limits = self._limits
        parts = [] if limits.seconds is None else [f"budget.seconds={limits.seconds:g}"]
        return " and ".join([*parts, *([] if limits.dollars is None else [f"budget.dollars={limits.dollars:g}"])])

    def summary(self) -> str:
        """Return sentences that say what was spent, and what is missing because the budget ended."""
        spent = self._spending.dollars
        after = duration(self._spending.seconds) + ("" if spent is None else f" and {dollars(spent)}")
        missing = [text for scheduler in self._schedulers if (text := _missing(scheduler))]
        return f"Stopped by {self.described} after {after}. Missing: {'; '.join(missing) or 'further trials'}."

    def end(self, finished: bool, interrupted: bool) -> tuple[StudyEnd, str]:
        """Write the final spending of the study.

        Args:
            finished: whether nothing is left to run.
            interrupted: whether the user ended it.

        Returns:
            How it ended, and a sentence on what the budget left undone, or "".
        """
        unfinished = StudyEnd.INTERRUPTED if interrupted else StudyEnd.BUDGET
        ended = StudyEnd.DONE if finished and not self.closed else unfinished
        note = ""
        if ended == StudyEnd.BUDGET:
            note = self.summary()
            self._mark()
        self._spending.write(ended, note, disk=True)
        return ended, note

    def _mark(self) -> None:
        """Write to the records of stopped and paused runs, whose status stays `running`, why they do not continue."""
        for scheduler in self._schedulers:
            for spec in (*scheduler.runs.waiting, *scheduler.tuning.paused):
                record = self._records.refresh(spec.paths)
                if record is not None and record.status == RunStatus.RUNNING and record.signature == spec.signature:
                    record.error = f"Stopped by {self.described}; a larger budget goes on from the checkpoint."
                    record.write(spec.paths.record)

    def _wall(self, seconds: Sequence[float]) -> float:
        """Return the wall seconds of runs that share the launcher, given the seconds of each."""
        return max(sum(seconds) / self._capacity, *seconds) if seconds else 0.0

    def _follow(self, under_way: Mapping[str, Hashable]) -> None:
        """Update the jobs under way, and the number of runs of each that have ended."""
        now, jobs = time.monotonic(), set(under_way.values())
        gone = Counter(job for directory, job in self._jobs.items() if under_way.get(directory) != job)
        self._began = {job: self._began.get(job, now) for job in jobs}
        self._left = {job: self._left.get(job, 0) + gone[job] for job in jobs}
        self._jobs = dict(under_way)

    def _under_way(self) -> float:
        """Return the wall seconds until the begun runs have ended. The runs of a job share its time in any order."""
        expected: dict[Hashable, list[float]] = defaultdict(list)  # by job, the seconds of its runs that have not ended
        for scheduler in self._schedulers:
            for spec in (*scheduler.runs.active.values(), *scheduler.runs.waiting):
                seconds = self._trial(scheduler) if spec.phase == Phase.TUNE else self._confirmed(scheduler)
                expected[self._jobs.get(spec.directory, spec.directory)].append(seconds)
        now, left = time.monotonic(), []
        for job, each in expected.items():
            whole = sum(each) * (1 + self._left.get(job, 0) / len(each))
            left.append(min(sum(each), max(0.0, whole - (now - self._began.get(job, now)))))
        return self._wall(left)

    def _confirmation(self) -> float:
        """Return the wall seconds of all confirmations that have not begun."""
        runs: list[float] = []
        for scheduler in self._schedulers:
            runs += [self._confirmed(scheduler)] * scheduler.workload.unconfirmed
        return self._wall(runs)

    def _trial(self, scheduler: CellScheduler) -> float:
        """Return the expected seconds of a cell's trial: the mean of its ended and paused trials.

        Before there are any, the longest duration known, be it of another cell's trial or of one under way.
        """
        tally = self._records.tally
        if (own := tally.lengths(scheduler.id, Phase.TUNE)).runs:
            return own.mean + self._once
        measured = [lengths for other in self._schedulers if (lengths := tally.lengths(other.id, Phase.TUNE)).runs]
        longest = [lengths.longest + self._once for lengths in measured]
        now = time.monotonic()
        so_far = [now - self._began[self._jobs[run]] for run in scheduler.runs.active if run in self._jobs]
        return max(longest + so_far, default=0.0)

    def _confirmed(self, scheduler: CellScheduler) -> float:
        """Return the expected seconds of a cell's confirmation: the mean of those that ended.

        Before there are any, it follows from the cell's complete trials, or else from partial ones, extrapolated.
        """
        tally = self._records.tally
        if (own := tally.lengths(scheduler.id, Phase.CONFIRM)).runs:
            return own.mean + self._once
        if (whole := tally.whole(scheduler.id)).runs:
            return CONFIRM * (whole.mean + self._once)
        if (pace := tally.pace(scheduler.id)).runs:
            return CONFIRM * (pace.mean * scheduler.tuning.full_run + self._once)
        return CONFIRM * self._trial(scheduler)

    @property
    def _once(self) -> float:
        """Seconds of start-up work that even a warm worker takes for each run."""
        tally = self._records.tally
        # Until as many runs have ended as execute at once, each may have been its worker's first.
        return sum(tally.least.values()) if tally.ended > self._capacity else 0.0


def check_dollars(config: Config, slot_rates: Sequence[float | None]) -> None:
    """Refuse a budget in dollars if the dollars of a run cannot be computed.

    Args:
        config: the study's configuration.
        slot_rates: of each cell, see `harness.planning.capacity.slot_rate`.

    Raises:
        HarnessError: a rate is unknown; says why, and what to set.
    """
    if config.budget.dollars is None or None not in slot_rates:
        return
    if name := config.hardware.gpu_name:
        why = f"hardware.gpu_name={name}: the price is of a GPU, and the runs would compute on a CPU"
        what = "Name a machine without a GPU (hardware=cpu-8core), or set hardware.gpu_name=null hardware.cores=<cores>"
    else:
        why = "jobs of a cluster run on other machines than this one, so the number of cores is not known"
        what = "Say how many cores hardware.dollars_per_hour buys: hardware.cores=<cores>"
    raise HarnessError(f"budget.dollars={config.budget.dollars:g} cannot be counted: {why}. {what}.")


def _missing(scheduler: CellScheduler) -> str:
    """Return what a cell still lacks: `demo.minilm.lora 2 of 4 trials, 3 of 3 confirmations`."""
    tuning, left = scheduler.tuning, scheduler.runs.waiting
    tuned = tuning.tried - sum(spec.phase == Phase.TUNE for spec in left)
    parts = []
    if tuning.planned is not None and tuned < tuning.planned and (left or not tuning.used_up):
        parts.append(f"{tuning.planned - tuned} of {plural(tuning.planned, 'trial')}")
    if confirm := scheduler.workload.unconfirmed + sum(spec.phase == Phase.CONFIRM for spec in left):
        parts.append(f"{confirm} of {plural(scheduler.confirmation.planned, 'confirmation')}")
    if kept := sum(spec.paths.checkpoint.is_dir() for spec in left):
        parts.append(f"{kept} of them at a checkpoint")
    return f"{scheduler.name} {', '.join(parts)}" if parts else ""
