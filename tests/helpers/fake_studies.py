"""Whole studies whose runs compute nothing: their scores are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from harness.config.schema import Config
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell
from harness.design.search_space import Parameter
from harness.launch import Job, Launcher, Outcome
from harness.records.files import append_jsonl, read_jsonl
from harness.records.record import PAUSED
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunBatch, RunSpec
from harness.search.storage import open_storage
from harness.study.budget import Budget
from harness.study.cell_scheduler import CellScheduler, make_schedulers
from harness.study.coordinator import Coordinator
from harness.study.live_view import LiveView
from harness.study.replication import Replication
from harness.study.stop_requests import StopRequests

Score = Callable[[RunSpec], float]


class MadeUp(Launcher):
    """Executes packs within `submit`, as a worker would leave them.

    Attributes:
        seen: by pack, its runs.
        together: by pack, how many are under way at a time.
    """

    capacity = 1
    immediate = True
    fuses = True

    def __init__(self, score: Score) -> None:
        self._score = score
        self.seen: list[tuple[RunSpec, ...]] = []
        self.together: list[int] = []
        self._ended: list[Outcome] = []

    def submit(self, batch: RunBatch) -> Job:
        self.seen.append(batch.runs)
        self.together.append(batch.together)
        for run in batch.runs:
            leave(run, self._score(run))
        self._ended.append(Outcome(Job(batch)))
        return self._ended[-1].job

    def wait(self, seconds: float) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        pass


def leave(run: RunSpec, score: float) -> None:
    """Write what a run leaves that ended, or paused at its limit."""
    run.paths.directory.mkdir(parents=True, exist_ok=True)
    known = {line["rung"] for line in read_jsonl(run.paths.metrics)}
    for rung in run.rungs:
        if rung not in known and (run.until is None or rung <= run.until):
            append_jsonl(run.paths.metrics, {"epoch": rung, "step": rung, "val": {"accuracy": score}, "rung": rung})
    record = run.new_record("ok" if run.until is None else "running")
    record.metrics["val"] = {"accuracy": score}
    record.cost = {"total_seconds": float(run.until or 1)} | ({} if run.until is None else {PAUSED: run.until})
    record.write(run.paths.record)


def cells(spaces: Mapping[str, dict[str, Parameter]]) -> list[PreparedCell]:
    """Cells of one task and model that may share passes, by method the space of each."""
    found = []
    for method, space in spaces.items():
        base = OmegaConf.create(
            {
                "task": {"name": "demo", "metric": "accuracy"},
                "model": {"name": "minilm"},
                "method": {"name": method, "about": {"fusable": True}},
                "train": {"lr": 1e-3, "epochs": 4, "stop_epoch": None, "batch_size": 8, "accumulate": 1},
                "device": "cpu",
            }
        )
        cell = Cell(f"demo.minilm.{method}", "demo", "minilm", method, {}, base, space)
        facts = {"rows": {"train": 32}, "validation": "split"}
        found.append(PreparedCell(cell, cell.resolve({}), "data", "weights", facts, (), "bert"))
    return found


def schedulers(
    ready: Sequence[PreparedCell], config: Config, directory: Path
) -> tuple[list[CellScheduler], RunRecords]:
    """Open the study of cells, as a coordinator that begins or resumes it."""
    directory.mkdir(exist_ok=True)
    storage = open_storage(None, directory, pytest.fail)
    records = RunRecords(directory / "runs", pytest.fail)
    return make_schedulers(ready, config, (1,), "study", directory / "runs", records, storage, {}), records


def unlimited() -> Budget:
    """A budget that pays for everything."""
    made = SimpleNamespace(watch=lambda c: None, exhausted=lambda *_: False, before=lambda c: True, blind=False)
    return cast(Budget, made)


def coordinate(
    cells: Sequence[CellScheduler],
    launcher: Launcher,
    config: Config,
    records: RunRecords,
    budget: Budget | None = None,
) -> bool:
    """Run cells to their end, or their budget's."""
    say: Any = SimpleNamespace(say=lambda line, style="": None, due=False)
    replication = cast(Replication, SimpleNamespace(advance=lambda: False))
    coordinator = Coordinator(
        cells, launcher, records, config.launch, False, cast(LiveView, say), StopRequests(), budget or unlimited(),
        replication,
    )  # fmt: skip
    return coordinator.run()
