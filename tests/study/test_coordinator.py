"""What the coordinator does with the runs of a job that was lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config.schema import Config, LaunchConfig
from harness.launch import Job, Launcher, Outcome
from harness.records.record import Record
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunBatch, RunSpec
from harness.study.budget import Budget
from harness.study.cell.run_queue import RunQueue
from harness.study.cell_scheduler import CellScheduler
from harness.study.coordination.batch_composer import BatchComposer
from tests.helpers.fake_studies import coordinate
from tests.helpers.small_dataset import config


class Deadly(Launcher):
    """Executes a pack within `submit`; a deadly run kills the process, and with it what has not ended."""

    capacity = 1
    immediate = True
    fuses = True

    def __init__(self, deadly: str, first: tuple[str, ...] = ()) -> None:
        self._deadly, self._first = deadly, first
        self.packed: list[list[str]] = []  # the names of the runs of each pack
        self._ended: list[Outcome] = []

    def submit(self, batch: RunBatch) -> Job:
        job = Job(batch)
        names = [Path(run.directory).name for run in batch.runs]
        self.packed.append(names)
        killed = self._deadly in names
        for run, name in zip(batch.runs, names, strict=True):
            run.paths.directory.mkdir(parents=True, exist_ok=True)
            run.new_record("running" if killed and name not in self._first else "ok").write(run.paths.record)
        self._ended.append(Outcome(job, "Its process was killed by SIGKILL." if killed else None))
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        pass


@dataclass
class Cell:
    """A scheduler that wants some runs, whatever they find."""

    id: str
    prepared: Any
    todo: list[RunSpec]
    runs: RunQueue = field(default_factory=RunQueue)
    records: dict[str, Record] = field(default_factory=dict)
    gave_up: str | None = None
    trials: Any = field(default_factory=lambda: SimpleNamespace(unclaimed=None))
    tuning = SimpleNamespace(over=False)

    def __post_init__(self) -> None:
        for spec in self.todo:
            self.runs.enqueue(spec)

    @property
    def name(self) -> str:
        return self.id

    @property
    def cell(self) -> Any:
        return self.prepared.cell

    @property
    def workload(self) -> SimpleNamespace:
        return SimpleNamespace(startable_now=len(self.runs.waiting), possible_cells=(self.id,))

    @property
    def done(self) -> bool:
        return not self.runs.waiting and not self.runs.active

    def next(self) -> RunSpec | None:
        if (spec := self.runs.next_waiting()) is not None:
            self.runs.start(spec)
        return spec

    def pause(self, spec: RunSpec) -> bool:
        return False

    def settle(self, spec: RunSpec, record: Record) -> None:
        self.runs.end(spec)
        self.records[Path(spec.directory).name] = record


def finish(tmp_path: Path, cache: Path, launcher: Launcher, names: str, retries: int) -> Cell:
    """Run a study of one cell to its end, one run a name."""
    base = config(tmp_path, cache, "lora")
    runs = [
        RunSpec(str(tmp_path / "runs/cell" / name), base, name, "study", "cell", "tune", trial=number)
        for number, name in enumerate(names)
    ]
    cell = Cell("cell", SimpleNamespace(base=base, architecture="bert", cell=SimpleNamespace(metric="accuracy")), runs)
    settings = Config(launch=LaunchConfig(fuse="4", retries=retries))
    assert coordinate([cast(CellScheduler, cell)], launcher, settings, RunRecords(tmp_path / "runs", pytest.fail))
    return cell


@pytest.mark.parametrize("retries", [0, 1])
def test_a_run_that_kills_its_worker_costs_the_others_of_its_batch_no_attempt(
    retries: int, tmp_path: Path, cache: Path
) -> None:
    """Who it was shows when each goes on alone; only that one's losses count, and those of others do not."""
    launcher = Deadly("b")
    cell = finish(tmp_path, cache, launcher, "abc", retries)
    assert {name: record.status for name, record in cell.records.items()} == {"a": "ok", "b": "lost", "c": "ok"}
    assert "launch.retries" in str(cell.records["b"].error)
    assert launcher.packed == [["a", "b", "c"], ["a"], ["b"], ["c"], *([["b"]] * retries)]


def test_the_only_run_of_a_batch_that_was_still_under_way_answers_for_the_loss(tmp_path: Path, cache: Path) -> None:
    """The others had ended, so it is known whose fault it was."""
    launcher = Deadly("b", first=("a", "c"))
    cell = finish(tmp_path, cache, launcher, "abc", retries=0)
    assert {name: record.status for name, record in cell.records.items()} == {"a": "ok", "b": "lost", "c": "ok"}
    assert launcher.packed == [["a", "b", "c"]]


def test_a_configuration_drawn_for_a_cell_that_was_asked_before_is_started(tmp_path: Path, cache: Path) -> None:
    """In a joint study the cell that is asked last may draw for the first; with nothing under way, none asks again."""
    base = config(tmp_path, cache, "lora")
    prepared = SimpleNamespace(base=base, architecture="bert", cell=SimpleNamespace(metric="accuracy"))
    one, two = (Cell(name, prepared, []) for name in ("one", "two"))
    spec = RunSpec(str(tmp_path / "runs/one/trial0003"), base, "signature", "study", "one", "tune", trial=3)
    drawn: list[RunSpec] = []
    one.trials = SimpleNamespace(unclaimed=None)
    one.next = lambda: drawn.pop() if drawn else None  # type: ignore[method-assign]  # a stub
    two.trials = SimpleNamespace(unclaimed=None)

    def draw() -> None:
        if one.trials.unclaimed is None:
            drawn.append(spec)
            one.trials.unclaimed = 3

    two.next = draw  # type: ignore[method-assign]  # a stub
    budget = SimpleNamespace(blind=True, before=lambda scheduler: True, exhausted=lambda *_: False)
    launcher = SimpleNamespace(fuses=False, runs_per_job=None, capacity=1)
    composer = BatchComposer(
        cast(list[CellScheduler], [one, two]), cast(Launcher, launcher), LaunchConfig(), cast(Budget, budget),
        lambda cell: None,
    )  # fmt: skip
    assert [started.trial for _, started in composer.next({})] == [3]
    assert composer.next({}) == []  # what nobody claims is asked for once
