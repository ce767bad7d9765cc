"""The coordinator: the one process that asks, packs, submits and tells. There is no batch barrier.

It holds the study's lock, is the only one that opens the Optuna storage, and believes nothing but records on disk.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from harness.launch import Launcher, Outcome
from harness.record import Pack, Record, RunSpec, now, read_jsonl
from harness.sweep.contest import Contest
from harness.sweep.progress import Progress
from harness.sweep.reconcile import Records, close_unfinished, note_failure

POLL_SECONDS = 0.5  # how often pruning and the live view look; results are seen at once


class Interrupt:
    """Ctrl-C, once to stop cleanly, twice to stop now. SIGTERM is taken as the first."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen to the signals within the block."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Coordinator:
    """Runs the contests of a study to their end, or until it is interrupted.

    Args:
        contests: the cells.
        launcher: where their runs execute.
        records: of the study.
        retries: times a lost run is tried again.
        prune: whether runs report on the way and may be stopped.
        progress: the user's view.
        interrupt: asked to stop.
    """

    def __init__(
        self,
        contests: Sequence[Contest],
        launcher: Launcher,
        records: Records,
        retries: int,
        prune: bool,
        progress: Progress,
        interrupt: Interrupt,
    ) -> None:
        self._contests, self._launcher, self._records = contests, launcher, records
        self._retries, self._prune, self._progress, self._interrupt = retries, prune, progress, interrupt
        self._by_directory: dict[str, Contest] = {}
        self._seconds: list[float] = []
        self._stopping = False
        self._told_given_up: set[str] = set()

    def run(self) -> bool:
        """Run until nothing is left. Return False if it was interrupted first."""
        while True:
            if self._interrupt() and not self._stopping:
                self._stop()
            if not self._stopping:
                self._fill()
            if not self._by_directory:
                break
            for outcome in self._launcher.wait(POLL_SECONDS):
                self._settle(outcome)
            if self._prune and not self._stopping:
                self._prune_losers()
            self._show()
        if self._stopping:
            return False
        for contest in self._contests:
            close_unfinished(self._records, contest.id, "Not needed any more: the study went on without it.")
        return True

    def _fill(self) -> None:
        """Keep the launcher full, the cell that has had the fewest runs first."""
        while len(self._by_directory) < self._launcher.capacity and not self._interrupt():
            for contest in sorted(self._contests, key=lambda contest: contest.started):
                spec = contest.next()
                if contest.gave_up and contest.id not in self._told_given_up:
                    self._told_given_up.add(contest.id)
                    self._progress.say(contest.gave_up, "red")
                if spec is not None:
                    break
            else:
                return
            spec.paths.stop.unlink(missing_ok=True)
            self._by_directory[spec.directory] = contest
            self._launcher.submit(Pack((spec,)))
            self._show()
            # An inline launcher has the result already; whoever comes next should know it.
            for outcome in self._launcher.wait(0):
                self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        for spec in outcome.job.pack.runs:
            contest = self._by_directory.pop(spec.directory)
            record = self._records.refresh(spec.paths)
            if record is None or record.signature != spec.signature or record.status == "running":
                self._unfinished(contest, spec, outcome.lost)
                continue
            contest.settle(spec, record)
            self._say(spec, record, contest)

    def _unfinished(self, contest: Contest, spec: RunSpec, lost: str | None) -> None:
        """A run ended without a finished record: it was asked to stop, or it was lost."""
        if self._interrupt():
            contest.again(spec)
            return
        reason = lost or "Its process ended the run without a record."
        failures = note_failure(spec.paths, reason)
        if failures <= self._retries:
            self._progress.say(f"{_name(spec)}: {reason} Trying again ({failures} of {self._retries}).", "yellow")
            contest.again(spec)
            return
        times = "once" if failures == 1 else f"{failures} times"
        record = spec.new_record("lost", f"{reason} Tried {times} (launch.retries={self._retries}).")
        record.ended = now()
        spec.paths.directory.mkdir(parents=True, exist_ok=True)
        record.write(spec.paths.record)
        self._records.refresh(spec.paths)
        contest.settle(spec, record)
        self._say(spec, record, contest)

    def _stop(self) -> None:
        self._stopping = True
        if self._by_directory:
            self._progress.say(
                f"Stopping: {len(self._by_directory)} runs under way write a checkpoint. Ctrl-C again ends them now."
            )
        for directory in self._by_directory:
            Path(directory).mkdir(parents=True, exist_ok=True)
            (Path(directory) / "stop").write_text("checkpoint", encoding="utf-8")

    def _prune_losers(self) -> None:
        for contest in self._contests:
            for spec in list(contest.active.values()):
                if spec.phase != "tune" or spec.trial is None or spec.paths.stop.exists():
                    continue
                lose = False
                for line in read_jsonl(spec.paths.metrics):
                    if line.get("fold", 0) != 0:
                        continue  # epochs start again with each fold; all trials are compared on the first
                    value = (line.get("val") or {}).get(contest.ready.cell.metric)
                    if value is not None:
                        lose = contest.trials.report(spec.trial, int(line["epoch"]), float(value))
                if lose:
                    spec.paths.stop.write_text("prune", encoding="utf-8")

    def _say(self, spec: RunSpec, record: Record, contest: Contest) -> None:
        seconds = record.cost.get("total_seconds")
        if seconds is not None:
            self._seconds.append(float(seconds))
        metric = contest.ready.cell.metric
        parts = [f"{_name(spec)}: {record.status}"]
        for split, label in (("val", "val"), ("test", "test")):
            value = record.metrics[split].get(metric)
            if value is not None:
                parts.append(f"{label} {metric} {value:.4f}")
        if seconds is not None:
            parts.append(f"{seconds:.1f} s")
        if record.error:
            parts.append(record.error)
        style = {"ok": "", "pruned": "dim"}.get(record.status, "red")
        self._progress.say(", ".join(parts), style)

    def _show(self) -> None:
        if not self._progress.due:
            return
        left = None
        if self._seconds:
            runs = sum(contest.left() for contest in self._contests)
            left = runs * sum(self._seconds) / len(self._seconds) / self._launcher.capacity
        self._progress.show([contest.view() for contest in self._contests], left)


def _name(spec: RunSpec) -> str:
    what = f"trial {spec.trial}" if spec.phase == "tune" else f"confirmation, seed {spec.config['seed']}"
    return f"{spec.cell} {what}"
