"""A cap on what a study may cost: who still gets trials, and how a study ends under it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config.schema import BudgetConfig, Config, HardwareConfig
from harness.config.validation import check
from harness.errors import HarnessError, Problems
from harness.planning.capacity import described
from harness.records.pricing import dollars
from harness.records.record import Record
from harness.records.run_totals import RunTotals
from harness.search.rungs import NO_RUNGS, Rungs
from harness.study.budget import Budget, check_dollars
from tests.study.test_survival import Study


@dataclass
class Cell:
    """A scheduler as the budget sees it: one that is asked for trials by the test."""

    id: str
    planned: int | None = 10
    tried: int = 0
    unconfirmed: int = 2
    closed: bool = False
    active: dict[str, Any] = field(default_factory=dict)
    waiting: tuple[Any, ...] = ()
    paused: tuple[Any, ...] = ()
    rungs: Rungs = NO_RUNGS
    confirmation = SimpleNamespace(seeds=(1, 2), planned=2)

    @property
    def name(self) -> str:
        return self.id

    @property
    def runs(self) -> SimpleNamespace:
        return SimpleNamespace(active=self.active, waiting=self.waiting)

    @property
    def workload(self) -> SimpleNamespace:
        return SimpleNamespace(unconfirmed=self.unconfirmed)

    @property
    def tuning(self) -> SimpleNamespace:
        return SimpleNamespace(
            tried=self.tried, planned=self.planned, used_up=self.used_up, over=self.over, paused=self.paused,
            full_run=self.rungs.total, close=self.close,
        )  # fmt: skip

    @property
    def used_up(self) -> bool:
        return self.planned is not None and self.tried >= self.planned

    @property
    def over(self) -> bool:
        return self.closed or self.used_up

    def close(self) -> None:
        self.closed = True


class Records:
    """Records of runs that took what the test says."""

    def __init__(self) -> None:
        self.tally = RunTotals()

    def add(self, cell: str, phase: str, seconds: float, status: str = "ok", **cost: float) -> None:
        record = Record("signature", status, "study", cell, phase, "task", "model", "method", 0)
        record.cost = {"total_seconds": seconds} | cost
        self.tally.add(record)


class Clock:
    """What was spent: the test turns it on."""

    slot_rate: float | None = None

    def __init__(self) -> None:
        self.seconds, self.dollars = 0.0, None
        self.under_way: Any = ()

    def tick(self) -> None:
        pass


def tune(budget: Budget, cells: list[Cell], clock: Clock, records: Records, seconds: dict[str, float]) -> None:
    """One worker, as the coordinator does it: the cell that has had the fewest trials comes next."""
    budget.watch(cells)  # type: ignore[arg-type]
    while going := [cell for cell in sorted(cells, key=lambda cell: cell.tried) if not cell.over]:
        budget.before(going[0])  # type: ignore[arg-type]
        if going[0].over:
            continue
        going[0].tried += 1
        clock.seconds += seconds[going[0].id]
        records.add(going[0].id, "tune", seconds[going[0].id])


def make(limit: float | None) -> tuple[Budget, Clock, Records, list[str]]:
    clock, records, said = Clock(), Records(), []
    budget = Budget(BudgetConfig(seconds=limit), clock, records, 1, said.append)  # type: ignore[arg-type]
    return budget, clock, records, said


def test_without_a_budget_every_cell_gets_all_its_trials() -> None:
    budget, clock, records, said = make(None)
    cells = [Cell("a"), Cell("b")]
    tune(budget, cells, clock, records, {"a": 5.0, "b": 50.0})
    assert [cell.tried for cell in cells] == [10, 10]
    assert not budget.closed
    assert not budget.exhausted()
    assert not said


@pytest.mark.parametrize("limit", [250.0, 300.0, 355.0, 450.0])
def test_tuning_ends_for_all_cells_after_as_many_trials_and_leaves_the_time_to_confirm(limit: float) -> None:
    """Unequal trials would be an unequal comparison; a best that is never confirmed would be none."""
    budget, clock, records, said = make(limit)
    cells = [Cell("a"), Cell("b"), Cell("c")]
    seconds = {"a": 5.0, "b": 20.0, "c": 15.0}
    tune(budget, cells, clock, records, seconds)
    assert budget.closed
    assert len({cell.tried for cell in cells}) == 1
    assert cells[0].tried >= 2
    assert sum(2 * each * 1.3 for each in seconds.values()) <= limit - clock.seconds
    assert len(said) == 1
    # Another round would not have fitted.
    assert clock.seconds + sum(seconds.values()) * (1 + 2 * 1.3 * 1.2) > limit
    assert "8 of 10 trials" in budget.summary() if cells[0].tried == 2 else "of 10 trials" in budget.summary()


def test_cells_tuned_by_time_are_asked_one_by_one() -> None:
    """Their shares are seconds, so the cheap one may try more."""
    budget, clock, records, _ = make(200.0)
    cells = [Cell("a", planned=None), Cell("b", planned=None)]
    tune(budget, cells, clock, records, {"a": 2.0, "b": 20.0})
    assert budget.closed
    assert all(cell.closed for cell in cells)


def test_the_first_run_of_a_worker_does_not_count_as_long_as_it_took() -> None:
    """It loads what later ones find."""
    budget, clock, records, _ = make(200.0)
    cell = Cell("a")
    budget.watch([cell])  # type: ignore[list-item]
    records.add("a", "tune", 60.0, data_seconds=30.0, model_seconds=25.0)
    clock.seconds, cell.tried = 60.0, 1
    budget.before(cell)  # type: ignore[arg-type]
    assert not budget.closed


def test_before_a_length_is_known_no_more_trials_start_than_execute_at_once() -> None:
    """A pack of eight would take eight times what a worker's first trial takes, before anything can be priced."""
    budget, _, records, said = make(100.0)
    cells = [Cell("a"), Cell("b")]
    budget.watch(cells)  # type: ignore[arg-type]
    assert budget.before(cells[0])  # type: ignore[arg-type]
    cells[0].tried, cells[0].active = 1, {"one": SimpleNamespace(phase="tune", directory="one")}
    assert not any(budget.before(cell) for cell in cells)  # type: ignore[arg-type]
    cells[1].waiting = (SimpleNamespace(phase="tune", directory="begun before"),)
    assert budget.before(cells[1])  # type: ignore[arg-type]
    records.add("a", "tune", 5.0)
    assert all(budget.before(cell) for cell in cells)  # type: ignore[arg-type]
    assert not said


def test_runs_of_one_job_share_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether beside each other or in turn, what is left of it is what its runs take, less the time since it began."""
    now = [0.0]
    monkeypatch.setattr("harness.study.budget.time.monotonic", lambda: now[0])
    clock, records = Clock(), Records()
    budget = Budget(BudgetConfig(seconds=1000.0), clock, records, 2, print)  # type: ignore[arg-type]
    cell = Cell("a")
    cell.active = {name: SimpleNamespace(phase="tune", directory=name) for name in "pqrs"}
    budget.watch([cell])  # type: ignore[list-item]
    records.add("a", "tune", 10.0)
    for now[0] in (0.0, 8.0):
        budget.exhausted(dict.fromkeys("pqrs", "pack"))
    assert budget.fits(2 * (1000.0 - 32.0))
    assert not budget.fits(2 * (1000.0 - 31.0))
    now[0] = 33.0
    budget.exhausted({"p": "pack", "q": "pack"})
    del cell.active["r"], cell.active["s"]
    assert budget.fits(2 * (1000.0 - 7.0))
    assert not budget.fits(2 * (1000.0 - 6.0))


def test_trials_that_wait_at_a_rung_tell_how_long_a_confirmation_takes() -> None:
    """It goes on to the end, and a trial that pauses is an early part of it."""
    budget, clock, records, _ = make(300.0)
    cell = Cell("a", tried=3, rungs=Rungs("epochs", (1, 3), 9))
    budget.watch([cell])  # type: ignore[list-item]
    for _ in range(3):
        records.add("a", "tune", 10.0, "running", paused_at=1.0)
    needed = 10.0 + 2 * 1.2 * 1.3 * 9 * 10.0
    clock.seconds = 300.0 - needed + 1
    budget.before(cell)  # type: ignore[arg-type]
    assert budget.closed


def test_the_cap_is_reached_in_seconds_and_in_dollars() -> None:
    budget, clock, _, _ = make(100.0)
    clock.seconds = 99.0
    assert not budget.exhausted()
    clock.seconds = 100.0
    assert budget.exhausted()
    clock.slot_rate, clock.dollars = 0.01, 4.0
    budget = Budget(BudgetConfig(dollars=5.0), clock, Records(), 2, print)  # type: ignore[arg-type]
    assert budget.room() == pytest.approx(50.0)
    clock.dollars = 5.0
    assert budget.exhausted()


def test_dollars_need_a_price_that_something_can_be_counted_at() -> None:
    """The message says what to set."""
    problems = Problems()
    check(Config(budget=BudgetConfig(dollars=3.0)), problems)
    assert any("hardware.dollars_per_hour" in message for message in problems.messages)
    config = Config(
        budget=BudgetConfig(dollars=3.0), hardware=HardwareConfig("a10g", 1.0, gpu_name="NVIDIA A10G"), device="cpu"
    )
    with pytest.raises(HarnessError, match="price is of a GPU"):
        check_dollars(config, [None])
    check_dollars(config, [0.1])


def test_a_run_costs_its_share_of_the_machine() -> None:
    """Of a GPU's time on a GPU, of the cores elsewhere; what cannot be told is not made up."""
    machine = described(Config(hardware=HardwareConfig("m", 7.2, cores=8)))
    assert dollars({"accelerator_seconds": None, "core_seconds": 40.0}, machine) == pytest.approx(0.01)
    gpu = described(Config(hardware=HardwareConfig("g", 3.6, gpu_name="G")))
    assert dollars({"accelerator_seconds": 10.0, "core_seconds": 40.0}, gpu) == pytest.approx(0.01)
    assert dollars({"accelerator_seconds": None, "core_seconds": 40.0}, gpu) is None
    assert dollars({"core_seconds": 40.0}, None) is None
    assert described(Config()) is None


@pytest.mark.slow
def test_a_study_ends_at_its_cap_and_a_larger_one_goes_on(tmp_path: Path, cache: Path) -> None:
    """No run is lost: what was under way is at a checkpoint, and the report is there."""
    options = (
        "method=linear_probe,lora",
        "tune.trials=2",
        "train.epochs=24",
        "launch.kind=inline",
        "launch.threads=1",
    )
    study = Study(tmp_path / "study", cache, *options, "budget.seconds=15", "hardware=cpu-8core")
    code, printed = study.finish()
    assert code == 3, printed
    assert "Stopped by budget.seconds=15" in printed
    assert "budget.seconds=30" in printed  # how to go on
    outcome = json.loads((study.runs.parent / "outcome.json").read_text())
    assert outcome["ended"] == "budget"
    assert outcome["dollars"] == pytest.approx(outcome["wall_seconds"] * 0.34 / 3600 / 8, abs=1e-6)
    assert {record["status"] for record in study.records()} <= {"ok", "running"}
    for path in study.runs.glob("*/*/record.json"):
        record = json.loads(path.read_text())
        if record["status"] == "running":
            assert (path.parent / "checkpoint").is_dir()
            assert "budget.seconds=15" in record["error"]
    assert study.table.exists()

    longer = Study(study.directory, cache, *options, "budget.seconds=3000", "hardware=cpu-8core")
    code, printed = longer.finish()
    assert code == 0, printed
    after = json.loads((study.runs.parent / "outcome.json").read_text())
    assert after["ended"] == "done"
    assert after["wall_seconds"] > outcome["wall_seconds"]
    assert after["runs"] == {"ok": 8}
