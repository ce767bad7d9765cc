"""What a row of the table says about the runs of its cell."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.report import CellSummary, Report, load, rows, write
from harness.report.analysis.verdicts import evidence
from harness.report.cells.settings import Settings
from harness.report.tables.table import COLUMNS, to_csv
from tests.report.conftest import Builder, asked

CELL = "demo.minilm.lora"


def said(study: Builder) -> list[str]:
    loaded = load(study.directory)
    return evidence(loaded, rows(loaded), Settings()).summary


def only(study: Builder) -> CellSummary:
    table = rows(load(study.directory))
    assert len(table) == 1
    return table[0]


def confirm(study: Builder, seed: int, test: float, cell: str = CELL, **values: Any) -> Path:
    fields: dict[str, Any] = {"phase": "confirm", "seed": seed, "metrics": {"val": {}, "test": {"accuracy": test}}}
    return study.run(cell, values.pop("name", f"c{seed}"), **(fields | values))


def trial(study: Builder, number: int, val: float | None, cell: str = CELL, **values: Any) -> Path:
    fields: dict[str, Any] = {
        "trial": number,
        "metrics": {"val": {"accuracy": val} if val is not None else {}, "test": {}},
    }
    return study.run(cell, f"t{number:03d}", **(fields | values))


def test_a_confirmed_cell_has_mean_and_sample_deviation_over_its_seeds(study: Builder) -> None:
    """Deviation with ddof 1, values in order of the seeds; costs: the sum over tuning, the mean over confirmation."""
    study.sweep([asked(CELL)])
    trial(study, 0, 0.7, hyperparameters={"train.lr": 0.1}, cost={"total_seconds": 10.0, "peak_memory_mb": 900.0})
    trial(study, 1, 0.8, hyperparameters={"train.lr": 0.2}, cost={"total_seconds": 30.0})
    for seed, test in ((3, 0.79), (1, 0.75), (2, 0.77)):
        cost = {"train_seconds": 4.0 + seed, "params_trainable": 1200, "peak_memory_mb": 700.0}
        confirm(study, seed, test, hyperparameters={"train.lr": 0.2}, cost=cost)
    row = only(study)
    assert row.test_mean == pytest.approx(0.77)
    assert row.test_std == pytest.approx(0.02)
    assert (row.seeds, row.test_values) == ((1, 2, 3), (0.75, 0.77, 0.79))
    assert (row.val_best, row.trials, row.failed, row.status) == (0.8, 2, 0, "ok")
    assert [row.costs[name] for name in ("tune_seconds", "train_seconds", "peak_memory_mb", "params_trainable")] == [
        40.0, 6.0, 900.0, 1200,
    ]  # fmt: skip
    assert row.hyperparameters == {"train.lr": 0.2}


def test_a_configuration_above_a_limit_is_not_the_best(study: Builder) -> None:
    """Nor one whose cost is not known; without a better one the cell has no best."""
    study.sweep([asked(CELL)], tune={"trials": 3, "constraints": {"peak_memory_mb": 800}})
    trial(study, 0, 0.9, hyperparameters={"train.lr": 0.1}, cost={"peak_memory_mb": 900.0})
    trial(study, 1, 0.8, hyperparameters={"train.lr": 0.2})
    assert (only(study).val_best, only(study).hyperparameters) == (None, {})
    trial(study, 2, 0.7, hyperparameters={"train.lr": 0.3}, cost={"peak_memory_mb": 700.0})
    assert (only(study).val_best, only(study).hyperparameters) == (0.7, {"train.lr": 0.3})


def test_of_trials_that_are_equal_the_one_of_lower_loss_is_the_best(study: Builder) -> None:
    """As the study chooses; then the earliest."""
    study.sweep([asked(CELL)])
    for number, loss in enumerate((0.5, 0.4, 0.4)):
        metrics = {"val": {"accuracy": 0.8, "loss": loss}, "test": {}}
        trial(study, number, 0.8, hyperparameters={"train.lr": 0.1 * (number + 1)}, metrics=metrics)
    assert only(study).hyperparameters == {"train.lr": 0.2}


def test_costs_are_means_over_confirmation_and_sums_over_tuning(study: Builder) -> None:
    """Dollars by the price in sweep.yaml: an hour of one of four cores at 2 dollars; unknown costs are absent."""
    study.sweep([asked(CELL)], hardware={"name": "node", "dollars_per_hour": 2.0, "cores": 4})
    for number in range(2):
        trial(study, number, 0.8, cost={"total_seconds": 1800.0, "core_seconds": 3600.0, "accelerator_seconds": None})
    trial(study, 2, None, status="lost")
    trial(study, 3, 0.1, status="pruned", cost={"total_seconds": 900.0, "core_seconds": 1800.0})
    for seed, latency in ((1, 0.01), (2, 0.03)):
        confirm(study, seed, 0.7, cost={"latency_p50_seconds": latency, "core_seconds": 7200.0, "device": "cpu"})
    row = only(study)
    confirmed = {"latency_p50_seconds": 0.02, "core_seconds": 7200.0, "dollars": 1.0}
    assert row.costs == pytest.approx(confirmed | {"tune_seconds": 4500.0, "tune_dollars": 1.25})
    assert (row.pruned, row.lost, row.failed) == (1, 1, 1)


def test_runs_that_rank_trials_again_are_a_part_of_tuning(study: Builder) -> None:
    """Runs of `tune.select=rerank` at fresh seeds: their seconds count as tuning, and they are no trials."""
    study.sweep([asked(CELL)])
    trial(study, 0, 0.8, cost={"total_seconds": 10.0})
    for number in range(2):
        again = {"total_seconds": 7.0}
        trial(study, 10 + number, 0.8, phase="rerank", trial=0, seed=5 + number, cost=again)
    assert (only(study).costs["tune_seconds"], only(study).trials) == (24.0, 1)


def test_a_sum_that_misses_a_run_is_not_given(study: Builder) -> None:
    """Dollars of a part of the tuning are not the tuning's; without a price there are none."""
    hardware = {"name": "node", "dollars_per_hour": 2.0, "cores": 4}
    study.sweep([asked(CELL)], hardware=hardware)
    trial(study, 0, 0.8, cost={"total_seconds": 10.0, "core_seconds": 10.0})
    trial(study, 1, 0.8, cost={"total_seconds": 10.0})
    assert only(study).costs == {"tune_seconds": 20.0}
    trial(study, 1, 0.8, cost={"total_seconds": 10.0, "core_seconds": 10.0})
    assert "tune_dollars" in only(study).costs
    study.sweep([asked(CELL)], hardware=None)
    assert only(study).costs == {"tune_seconds": 20.0}


@pytest.mark.usefixtures("no_figures")
def test_one_seed_has_no_deviation_and_a_missing_value_stays_empty(study: Builder, tmp_path: Path) -> None:
    """Nothing is filled in: an unknown number is an empty field."""
    study.sweep([asked(CELL)], confirm={"seeds": [1]})
    confirm(study, 1, 0.75)
    table = list(csv.DictReader(to_csv(write(study.directory, tmp_path)).splitlines()))
    assert tuple(table[0]) == COLUMNS
    assert (table[0]["test_mean"], table[0]["test_std"], table[0]["n_seeds"]) == ("0.75", "", "1")
    assert [
        table[0][name] for name in ("val_best", "params_trainable", "tune_seconds", "hyperparameters", "error")
    ] == [""] * 5


@pytest.mark.parametrize(
    ("runs", "status"),
    [
        ([], "not started"),
        ([("tune", "running", None)], "running"),
        ([("tune", "ok", None)], "partial"),
        ([("tune", "pruned", None)], "partial"),
        ([("tune", "failed", None), ("tune", "lost", None)], "failed"),
        ([("tune", "failed", None), ("tune", "running", None)], "running"),
        ([("tune", "ok", None), ("confirm", "failed", None)], "failed"),
        ([("tune", "ok", None), ("confirm", "ok", 0.7)], "partial"),
        ([("tune", "ok", None), ("confirm", "ok", 0.7), ("confirm", "ok", 0.8)], "ok"),
        ([("tune", "failed", None), ("confirm", "ok", 0.7), ("confirm", "ok", 0.8)], "ok"),
        ([("confirm", "ok", 0.7), ("confirm", "running", None)], "running"),
    ],
)
def test_status_says_how_far_a_cell_is(study: Builder, runs: list[tuple[str, str, float | None]], status: str) -> None:
    """With two seeds to confirm."""
    study.sweep([asked(CELL)], confirm={"seeds": [1, 2]})
    for index, (phase, ended, test) in enumerate(runs):
        metrics = {"val": {"accuracy": 0.5} if ended == "ok" else {}, "test": {"accuracy": test} if test else {}}
        number = index if phase == "tune" else None
        study.run(CELL, f"r{index}", phase=phase, status=ended, seed=index, trial=number, metrics=metrics)
    assert only(study).status == status


def test_failed_cell_keeps_its_row_with_its_most_frequent_error(study: Builder) -> None:
    """Failed and lost runs count; the error that occurs most often stands in the row."""
    study.sweep([asked(CELL)])
    for number, (status, error) in enumerate(
        [("failed", "out of memory"), ("lost", "killed"), ("failed", "out of memory")]
    ):
        trial(study, number, None, status=status, error=error)
    row = only(study)
    assert (row.status, row.failed, row.trials, row.error) == ("failed", 3, 3, "out of memory")
    assert row.test_mean is None
    assert "1 of 1 cell failed: lora." in said(study)


def test_minimised_metric_prefers_the_smaller(study: Builder) -> None:
    """A loss: the lowest validation value is best, and the row with the lowest test value comes first."""
    other = "demo.minilm.full"
    study.sweep([asked(CELL, metric="loss", direction="minimize"), asked(other, metric="loss", direction="minimize")])
    for cell, low in ((CELL, 0.4), (other, 0.3)):
        for number, val in enumerate((0.9, low, 0.6)):
            trial(study, number, None, cell, metrics={"val": {"loss": val}, "test": {}})
        confirm(study, 1, 0, cell, metrics={"val": {}, "test": {"loss": low + 0.1}})
    table = rows(load(study.directory))
    assert [(row.cell.method, row.val_best) for row in table] == [("full", 0.3), ("lora", 0.4)]
    assert "full has the best mean, 0.400 test loss" in said(study)[0]


def test_rows_are_sorted_by_task_then_test_score_and_unmeasured_cells_come_last(study: Builder) -> None:
    """Cells without a test score follow, by validation score."""
    study.sweep([asked(f"{task}.minilm.{method}") for task in "ba" for method in ("x", "y", "z")])
    for task in "ab":
        confirm(study, 1, 0.5, f"{task}.minilm.x")
        confirm(study, 1, 0.6, f"{task}.minilm.z")
        trial(study, 0, 0.99, f"{task}.minilm.y")
    ordered = [row.cell.id for row in rows(load(study.directory))]
    assert ordered == [f"{task}.minilm.{method}" for task in "ab" for method in ("z", "x", "y")]


def test_only_confirmations_of_the_chosen_configuration_count(study: Builder) -> None:
    """A study that was extended found a better configuration: seeds of the earlier one are not averaged in."""
    study.sweep([asked(CELL)], confirm={"seeds": [1, 2]})
    old, new = {"train.lr": 0.1}, {"train.lr": 0.2}
    trial(study, 0, 0.7, hyperparameters=old)
    trial(study, 1, 0.8, hyperparameters=new)
    for seed in (1, 2):
        confirm(study, seed, 0.60, hyperparameters=old, name=f"old{seed}")
        confirm(study, seed, 0.75, hyperparameters=new, name=f"new{seed}")
    row = only(study)
    assert (row.test_values, row.hyperparameters, row.superseded) == ((0.75, 0.75), new, 2)


def test_choices_that_the_study_recorded_say_what_counts(study: Builder) -> None:
    """choices.json names the runs that confirm, whatever the validation scores would say."""
    study.sweep([asked(CELL)], confirm={"seeds": [1, 2]})
    for number, rate in enumerate((0.1, 0.2)):
        trial(study, number, 0.8, hyperparameters={"train.lr": rate})
        for seed in (1, 2):
            values = {"train.lr": rate}
            confirm(study, seed, 0.5 + rate, name=f"c{rate}{seed}", hyperparameters=values, signature=f"{rate}-{seed}")
    choice = {CELL: {"trial": 1, "signatures": ["0.2-1", "0.2-2"]}}
    (study.directory / "choices.json").write_text(json.dumps(choice), encoding="utf-8")
    assert (only(study).test_values, only(study).hyperparameters) == ((0.7, 0.7), {"train.lr": 0.2})
    study.sweep([asked(CELL)], confirm={"seeds": [1, 2, 3, 4]})  # another cell, or another command, has asked for more
    assert only(study).status == "ok"
    (study.directory / "choices.json").write_text("{", encoding="utf-8")
    assert only(study).test_values == (0.6, 0.6)


def test_records_beyond_the_sweep_are_shown(study: Builder) -> None:
    """A record whose cell sweep.yaml does not name still has its row."""
    study.sweep([asked(CELL)])
    confirm(study, 1, 0.5, "demo.minilm.full")
    assert {row.cell.id: row.status for row in rows(load(study.directory))} == {
        CELL: "not started",
        "demo.minilm.full": "partial",
    }


def test_single_runs_make_a_table_in_which_only_seeds_are_averaged(study: Builder) -> None:
    """Without sweep.yaml: runs that differ in their seed share a row; another learning rate makes another row."""
    for index, (seed, rate, test) in enumerate([(0, 0.1, 0.7), (1, 0.1, 0.8), (0, 0.5, 0.6)]):
        config = {
            "task": {"name": "demo", "metric": "macro_f1"},
            "train": {"lr": rate},
            "seed": seed,
            "study": f"s{index}",
        }
        metrics = {"val": {"macro_f1": test}, "test": {"accuracy": 0.9, "macro_f1": test}}
        study.run(CELL, f"r{index}", config, phase="single", seed=seed, metrics=metrics)
    table = rows(load(study.directory))
    assert [(row.test_values, row.cell.variant, row.cell.metric, row.status) for row in table] == [
        ((0.7, 0.8), {"train.lr": 0.1}, "macro_f1", "ok"),
        ((0.6,), {"train.lr": 0.5}, "macro_f1", "ok"),
    ]


def test_summary_before_any_confirmation_names_the_validation_score(study: Builder) -> None:
    """A running study says that nothing has met the test split yet."""
    study.sweep([asked(CELL)])
    trial(study, 0, 0.81)
    trial(study, 1, None, status="running")
    first, second = said(study)
    assert first == (
        "On demo, no cell has met the test split yet; the best validation accuracy so far is 81.0 %, by lora."
    )
    assert second == "1 of 1 cell is still running: lora."


def test_scores_without_predictions_are_not_judged(study: Builder) -> None:
    """A mean alone says nothing of how far it may be off."""
    study.sweep([asked(f"demo.minilm.{name}", metric="macro_f1") for name in ("lora", "full")])
    for name, test in (("lora", 0.8), ("full", 0.7)):
        confirm(study, 1, 0, f"demo.minilm.{name}", metrics={"val": {}, "test": {"macro_f1": test}})
    assert "Nothing can be compared" in said(study)[0]


def test_other_shots_are_another_question(study: Builder) -> None:
    """Cells are compared within a task's own axes, and each question gets its sentence."""
    cells = [f"demo.minilm.{method}.shots={shots}" for shots in (1, 5) for method in ("lora", "full")]
    study.sweep([asked(cell, variant={"task.shots": int(cell[-1])}) for cell in cells], confirm={"seeds": 1})
    for cell in cells:
        confirm(study, 1, 0.5 + int(cell[-1]) / 20, cell, variant={"task.shots": int(cell[-1])})
    sentences = said(study)
    assert [sentence.split(",")[0] for sentence in sentences] == ["On demo (task.shots=5)", "On demo (task.shots=1)"]


def test_csv_of_a_study_reads_back(reported: Report) -> None:
    """Fractions, and JSON in the columns that hold JSON."""
    table = list(csv.DictReader((reported.output / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["method"] for row in table[:3]] == ["full", "lora", "linear_probe"]
    assert float(table[0]["test_mean"]) == pytest.approx(0.873)
    assert len(json.loads(table[0]["test_values"])) == 3
    assert set(json.loads(table[0]["hyperparameters"])) == {"train.lr", "train.epochs"}
