"""What the runs of a cell say, and that the status, the report and warm starts say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import Problems
from harness.records.cell_facts import Recorded, best_trial, confirmations, minimizes, result, state, within
from harness.records.record import Record
from harness.records.states import CellState, RunStatus
from harness.records.study_files import StudyPaths
from harness.report.cells.cell_summary import CellSummary, rows
from harness.report.reading.study import load
from harness.status.cell_status import CellStatus
from harness.status.study_status import survey
from harness.study.warm_start import _best_of
from tests.report.conftest import Builder, asked

CELL = "demo.minilm.lora"


def run(phase: str = "tune", **values: Any) -> Recorded:
    known: dict[str, Any] = {"signature": "s", "status": RunStatus.OK, "trial": 0, "seed": 0}
    return Recorded(Record(study="s", cell=CELL, phase=phase, task="t", model="m", method="e", **(known | values)))


def scored(trial: int, value: float | None, loss: float | None = None, **values: Any) -> Recorded:
    return run(trial=trial, metrics={"val": {"accuracy": value, "loss": loss}, "test": {}}, **values)


def test_the_best_trial() -> None:
    """By metric, then loss, then number; neither a pruned run nor one above a limit; unknown costs are above."""
    trials = [
        scored(0, 0.9, cost={"peak_memory_mb": 900.0}), scored(1, 0.95),
        scored(2, 0.8, 0.5, cost={"peak_memory_mb": 1}),
        scored(3, 0.8, 0.4, cost={"peak_memory_mb": 1}), scored(4, 0.8, 0.4, cost={"peak_memory_mb": 1}),
        scored(5, 0.99, status="pruned"), scored(6, float("nan")), scored(7, None),
    ]  # fmt: skip
    limits = {"peak_memory_mb": 800, "train_seconds": None}
    best = best_trial(trials, "accuracy", False, limits)
    assert best is not None and best.trial == 3
    assert not within(trials[1], limits)
    best = best_trial(trials, "accuracy", False, {})
    assert best is not None and best.trial == 1
    assert best_trial([], "accuracy", False, {}) is None
    assert minimizes("loss", None) and not minimizes("loss", "maximize") and not minimizes("of_mine", None)


def test_the_runs_that_confirm() -> None:
    """By the choice; without one by the best trial; without that by what was confirmed last."""
    old, new = {"train.lr": 0.1}, {"train.lr": 0.2}
    runs = [
        run("confirm", signature="o", hyperparameters=old, started="2026-01-02"),
        run("confirm", signature="n", hyperparameters=new, started="2026-01-01", status="failed"),
        run("tune", hyperparameters=new),
    ]
    assert [each.record.signature for each in confirmations(runs, ["n"], runs[0])] == ["n"]
    assert confirmations(runs, ["of another configuration"], runs[2]) == []
    assert [each.record.signature for each in confirmations(runs, (), runs[2])] == ["n"]
    assert [each.record.signature for each in confirmations(runs, (), None)] == ["o"]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"begun": False}, "waiting"),
        ({"busy": True, "begun": False}, "tuning"),
        ({}, "tuning"),
        ({"over": True}, "confirming"),
        ({"over": True, "worked": False}, "failed"),
        ({"over": True, "worked": False, "busy": True}, "confirming"),
        ({"over": True, "ended": 2, "ok": 1}, "done"),
        ({"over": True, "ended": 2, "ok": 0}, "failed"),  # all confirmations failed: there is no result
        ({"over": True, "wanted": 0}, "done"),  # no finalist
    ],
)
def test_the_state_of_a_cell(facts: dict[str, Any], found: str) -> None:
    """Of two confirmations."""
    usual = {"over": False, "busy": False, "begun": True, "worked": True, "ended": 0, "ok": 0, "wanted": 2}
    assert state(**(usual | facts)) == found


def test_what_a_report_says_of_a_state() -> None:
    """A cell with all its answers is ok, one with some of them partial."""
    assert result(CellState.DONE, busy=False, ok=2, failed=0, wanted=2) == "ok"
    assert result(CellState.DONE, busy=False, ok=1, failed=1, wanted=2) == "partial"
    assert result(CellState.CONFIRMING, busy=False, ok=0, failed=1, wanted=2) == "failed"
    assert result(CellState.WAITING, busy=False, ok=0, failed=0, wanted=2) == "not started"


def both(study: Builder) -> tuple[CellStatus, CellSummary]:
    (status,), (row,) = survey(study.directory).cells, rows(load(study.directory))
    return status, row


def test_all_name_the_same_best(tmp_path: Path) -> None:
    """The status, the report and a warm start, with a limit, a tie and a metric of the user's own."""
    study = Builder(tmp_path / "s")
    study.sweep(
        [asked(CELL, metric="cost_of_mine", direction="minimize")],
        tune={"trials": 3, "constraints": {"peak_memory_mb": 800}},
    )
    for number, (value, loss, memory) in enumerate([(0.1, 0.1, 900.0), (0.2, 0.5, 1.0), (0.2, 0.4, 1.0)]):
        study.run(
            CELL, f"t{number}", trial=number, cost={"peak_memory_mb": memory},
            metrics={"val": {"cost_of_mine": value, "loss": loss}, "test": {}},
        )  # fmt: skip
    status, row = both(study)
    (warm,) = _best_of(study.directory, "s", Problems())
    assert status.best == row.val_best == 0.2
    assert row.best_trial is not None and row.best_trial.trial == warm.record.trial == 2


def test_a_new_choice_without_confirmations_is_not_done(tmp_path: Path) -> None:
    """An extended study: the earlier best's scores are shown, but neither view calls the cell complete."""
    study = Builder(tmp_path / "s")
    study.sweep([asked(CELL)], tune={"trials": 2}, confirm={"seeds": [1, 2]})
    for number, value in enumerate((0.7, 0.8)):
        metrics = {"val": {"accuracy": value}, "test": {}}
        study.run(CELL, f"t{number}", trial=number, metrics=metrics, hyperparameters={"train.lr": value})
    for seed in (1, 2):
        metrics = {"val": {}, "test": {"accuracy": 0.6}}
        study.run(
            CELL, f"c{seed}", phase="confirm", seed=seed, metrics=metrics, signature=f"old{seed}",
            hyperparameters={"train.lr": 0.7},
        )  # fmt: skip
    StudyPaths(study.directory).write_choices({CELL: {"trial": 1, "signatures": ["new1", "new2"]}})
    status, row = both(study)
    assert (status.state, status.confirmed, status.seeds) == ("confirming", 0, 2)
    assert (row.status, row.test_values, row.hyperparameters) == ("partial", (0.6, 0.6), {"train.lr": 0.7})
    StudyPaths(study.directory).write_choices({CELL: {"trial": 0, "signatures": ["old1", "old2"]}})
    status, row = both(study)
    assert (status.state, status.confirmed, row.status) == ("done", 2, "ok")


def test_confirmations_that_all_failed_are_a_failure(tmp_path: Path) -> None:
    """Nothing is left to do, and there is no result."""
    study = Builder(tmp_path / "s")
    study.sweep([asked(CELL)], tune={"trials": 1}, confirm={"seeds": [1, 2]})
    study.run(CELL, "t0", trial=0, metrics={"val": {"accuracy": 0.7}, "test": {}})
    for seed in (1, 2):
        study.run(CELL, f"c{seed}", phase="confirm", seed=seed, status="failed", error="x")
    status, row = both(study)
    assert (status.state, row.status) == ("failed", "failed")
