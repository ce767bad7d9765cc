"""Ending trials that do worse than others: runs of a job are judged when all of it have come as far."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config.schema import TuneConfig
from harness.launch import Job
from harness.records.files import append_jsonl
from harness.records.run_spec import RunBatch, RunSpec
from harness.search.rungs import Rungs
from harness.search.storage import open_storage
from harness.search.trials import SingleCellTrials
from harness.study.cell.trial_feedback import TrialFeedback
from harness.study.cell_scheduler import CellScheduler
from harness.study.running_trial_pruner import RunningTrialPruner
from tests.helpers.small_dataset import config, spec
from tests.search.test_trials import CONTINUOUS

RUNGS = Rungs("epochs", (1, 2), 3)


class Bench:
    """A cell whose four finished trials are to be beaten, and two runs under way."""

    def __init__(self, directory: Path, cache: Path, together: bool) -> None:
        first = [{"lr": 1e-3, "r": 8}]
        storage = open_storage(None, directory, pytest.fail)
        self.trials = SingleCellTrials(
            "cell", CONTINUOUS, TuneConfig(trials=12, pruner="median"), True, first, storage, RUNGS
        )
        for level in (0.5, 0.6, 0.7, 0.8):
            number = self.trials.ask().number
            for rung in RUNGS.at:
                self.trials.report(number, rung, level)
            self.trials.tell(number, level)
        self.runs = [self._begin(directory, cache) for _ in range(2)]
        scheduler = SimpleNamespace(
            cell=SimpleNamespace(metric="accuracy"),
            runs=SimpleNamespace(active={run.directory: run for run in self.runs}),
            tuning=SimpleNamespace(feedback=TrialFeedback(self.trials, "accuracy", TuneConfig())),
        )
        jobs = [Job(RunBatch(tuple(self.runs), 2))] * 2 if together else [Job(RunBatch((run,))) for run in self.runs]
        self.under_way = {
            run.directory: (cast(CellScheduler, scheduler), job) for run, job in zip(self.runs, jobs, strict=True)
        }
        self.pruner = RunningTrialPruner()

    def _begin(self, directory: Path, cache: Path) -> RunSpec:
        number = self.trials.ask().number
        place = directory / f"trial{number}"
        place.mkdir()
        return spec(config(directory, cache), place, phase="tune", trial=number, rungs=RUNGS.at)

    def score(self, run: int, rung: int, value: float) -> None:
        line: dict[str, Any] = {"epoch": rung, "step": rung, "val": {"accuracy": value}, "rung": rung}
        append_jsonl(self.runs[run].paths.metrics, line)

    def asked_to_end(self) -> list[bool]:
        self.pruner.prune(self.under_way)
        return [run.paths.stop.exists() and run.paths.stop.read_text() == "prune" for run in self.runs]


def test_a_run_below_the_median_is_asked_to_end(tmp_path: Path, cache: Path) -> None:
    """As soon as it has reported, whatever runs elsewhere have; once."""
    bench = Bench(tmp_path, cache, together=False)
    bench.score(0, 1, 0.3)
    assert bench.asked_to_end() == [True, False]
    bench.score(1, 1, 0.9)
    assert bench.asked_to_end() == [True, False]
    assert bench.trials.trial(bench.runs[1].trial or 0).intermediate_values == {1: 0.9}


def test_runs_of_a_batch_are_judged_when_all_have_reported(tmp_path: Path, cache: Path) -> None:
    """At the first rung, too."""
    bench = Bench(tmp_path, cache, together=True)
    bench.score(0, 1, 0.3)
    assert bench.asked_to_end() == [False, False]
    bench.score(1, 1, 0.7)
    assert bench.asked_to_end() == [True, False]


def test_a_run_is_judged_by_its_best_score_so_far(tmp_path: Path, cache: Path) -> None:
    """One that falls below the median after it was above goes on."""
    bench = Bench(tmp_path, cache, together=True)
    bench.score(0, 1, 0.9)
    bench.score(1, 1, 0.7)
    assert bench.asked_to_end() == [False, False]
    bench.score(0, 2, 0.3)
    assert bench.asked_to_end() == [False, False]
    bench.score(1, 2, 0.7)
    assert bench.asked_to_end() == [False, False]


def test_a_batch_waits_for_the_slower_one(tmp_path: Path, cache: Path) -> None:
    """The worse of two is ended only when the other has come to the same rung, or has ended."""
    bench = Bench(tmp_path, cache, together=True)
    bench.score(0, 2, 0.3)
    bench.score(1, 1, 0.9)
    assert bench.asked_to_end() == [False, False]
    record = bench.runs[1].new_record("ok")
    record.write(bench.runs[1].paths.record)
    assert bench.asked_to_end() == [True, False]
