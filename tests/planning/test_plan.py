"""What a study would take: runs added up, their order replayed, earlier runs put in proportion."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.design.prepared_cell import PreparedCell
from harness.planning.capacity import ComputeTarget
from harness.planning.estimate import Cost, Workload, from_rates, replay
from harness.planning.from_history import from_records
from harness.runs.calibration import Rates
from tests.study.test_survival import Study

HERE = ComputeTarget("cpu", "cpu of the test", 1)


def ready(method: str = "lora", **facts: Any) -> PreparedCell:
    base = {
        "task": {"name": "t", "max_length": 64, "folds": 5},
        "model": {"name": "m"},
        "method": {"name": method, "ignores": [] if method == "lora" else ["train"]},
        "train": {"epochs": 3, "stop_epoch": None, "lr": 1e-3, "batch_size": 32},
    }
    cell = SimpleNamespace(id=f"t.m.{method}", task="t", model="m", method=method, space={"train.lr": None})
    rows = {"rows": {"train": 100, "validation": 50, "test": 200}, "classes": 4}
    return PreparedCell(cell, base, "data", "weights", rows | facts, ())  # type: ignore[arg-type]


def work(trials: int, seeds: int, method: str = "lora", **cost: Any) -> Workload:
    return Workload(ready(method), Cost(**({"tune": 10.0, "confirm": 20.0} | cost)), trials, seeds)


def test_one_worker_takes_the_sum() -> None:
    wall, totals = replay([work(3, 2), work(1, 1, "probe")], 1)
    assert wall == pytest.approx(3 * 10 + 2 * 20 + 10 + 20)
    assert totals == pytest.approx([70.0, 30.0])


def test_confirmations_wait_for_the_last_trial() -> None:
    """Two workers: 10 s for two trials, 10 s for the third while one worker waits, 20 s for two confirmations."""
    assert replay([work(3, 2)], 2)[0] == pytest.approx(40.0)


def test_each_worker_loads_once_and_each_feature_is_computed_by_those_that_need_it_first() -> None:
    both = [work(2, 1, load=5.0), work(2, 1, "probe", load=5.0)]
    wall, totals = replay(both, 2)
    assert sum(totals) == pytest.approx(4 * 10 + 2 * 20 + 2 * 5)
    wall, _ = replay([work(2, 2, features={"train": 7.0, "test": 3.0}, save=1.0)], 1)
    assert wall == pytest.approx(2 * 10 + 2 * 20 + 7 + 3 + 1)


def test_nothing_left_takes_no_time() -> None:
    assert replay([work(0, 0)], 2) == (0.0, [0.0])


def test_parts_add_up_to_runs() -> None:
    """Epochs over the training rows with a look at the validation rows each; the test rows once."""
    rates = Rates(train_row=0.01, evaluate_row=0.002, start=0.5, feature_row=0.004, fit_row=0.001, serve=2.0, load=9.0)
    cost = from_rates(ready(), rates, cached=False)
    training = 0.5 + 3 * (100 * 0.01 + 50 * 0.002)
    assert cost.tune == pytest.approx(training, abs=0.2)
    assert cost.confirm == pytest.approx(training + 200 * 0.002 + 2.0, abs=0.2)
    assert cost.features == {"train": pytest.approx(0.4)}
    assert from_rates(ready(), rates, cached=True).features == {}
    probe = from_rates(ready("probe"), rates, cached=False)
    assert probe.tune == pytest.approx(0.1, abs=0.2)
    assert sum(probe.features.values()) == pytest.approx(350 * 0.004)
    folds = from_rates(ready(validation="kfold", rows={"train": 100, "validation": 0, "test": 200}), rates, cached=True)
    assert folds.tune == pytest.approx(5 * (0.5 + 3 * (80 * 0.01 + 20 * 0.002)), abs=0.2)


def write(runs_dir: Path, each: PreparedCell, phase: str, number: int, rows: int = 100, **changes: Any) -> None:
    directory = runs_dir / "before" / "runs" / each.cell.id / f"{phase}{number}"
    directory.mkdir(parents=True)
    train = 3.0 * rows / 100
    record = {
        "signature": "s", "status": "ok", "study": "before", "cell": each.cell.id, "phase": phase, "task": "t",
        "model": "m", "method": each.cell.method, "seed": 0,
        "cost": {
            "total_seconds": train + 1.0 + (8.0 if number == 0 else 0.0), "data_seconds": 8.0 if number == 0 else 0.0,
            "train_seconds": train, "evaluate_seconds": 0.0, "samples": 3 * rows, "steps": 9, "device": "cpu",
            "threads": 1, "peak_memory_mb": 700.0,
        },
        "data": {"fingerprint": "data" if rows == 100 else "other", "rows": {"train": rows}},
        "provenance": {"model_digest": "weights", "device_name": "cpu of the test"},
    } | changes  # fmt: skip
    (directory / "record.json").write_text(json.dumps(record))
    (directory / "config.yaml").write_text(yaml.safe_dump(deepcopy(each.base) | {"seed": number}))


def test_earlier_runs_of_the_cell_say_what_it_takes(tmp_path: Path) -> None:
    """The median of warm runs, and apart what the first run of a worker paid."""
    each = ready()
    assert from_records(each, tmp_path, HERE, any_task=False) is None
    for number in range(3):
        write(tmp_path, each, "tune", number)
    write(tmp_path, each, "confirm", 7)
    cost = from_records(each, tmp_path, HERE, any_task=False)
    assert cost is not None
    assert cost.tune == pytest.approx(4.0, abs=0.2)
    assert cost.load == pytest.approx(8.0)
    assert cost.peak_memory_mb == 700.0
    assert cost.source == "past runs (4)"


def test_a_cell_that_tunes_nothing_is_known_by_its_one_trial_and_its_confirmations(tmp_path: Path) -> None:
    each = ready()
    write(tmp_path, each, "tune", 1)
    write(tmp_path, each, "confirm", 1)
    assert from_records(each, tmp_path, HERE, any_task=False) is None
    write(tmp_path, each, "confirm", 2)
    assert from_records(each, tmp_path, HERE, any_task=False) is not None


def test_earlier_runs_with_more_rows_are_put_in_proportion(tmp_path: Path) -> None:
    each = ready()
    for phase in ("tune", "confirm"):
        for number in (1, 2):
            write(tmp_path, each, phase, number, rows=300)
    cost = from_records(each, tmp_path, HERE, any_task=False)
    assert cost is not None
    assert cost.tune == pytest.approx(3.0 + 1.0, abs=0.2)
    assert "of the task" in cost.source


@pytest.mark.parametrize(
    "place",
    [ComputeTarget("cuda", "cpu of the test", 1), ComputeTarget("cpu", "other", 1), ComputeTarget("cpu", None, 4)],
)
def test_runs_of_another_kind_of_machine_say_nothing(tmp_path: Path, place: ComputeTarget) -> None:
    each = ready()
    for phase in ("tune", "confirm"):
        for number in (1, 2):
            write(tmp_path, each, phase, number)
    assert from_records(each, tmp_path, place, any_task=True) is None
    assert from_records(each, tmp_path, HERE, any_task=True) is not None


def test_runs_that_were_configured_otherwise_say_nothing(tmp_path: Path) -> None:
    each = ready()
    for phase in ("tune", "confirm"):
        for number in (1, 2):
            write(tmp_path, each, phase, number)
    each.base["train"]["batch_size"] = 8
    assert from_records(each, tmp_path, HERE, any_task=True) is None


@pytest.mark.slow
def test_a_plan_starts_nothing_and_waits_for_its_study(tmp_path: Path, cache: Path) -> None:
    """Measured first; the study keeps it, and its runs answer the next plan."""
    options = ("method=linear_probe", "tune.trials=3", "launch.kind=local", "launch.workers=1", "launch.threads=1")
    study = Study(tmp_path / "study", cache, *options)
    code, printed = Study(study.directory, cache, *options, "plan=true", "hardware=cpu-8core").finish()
    assert code == 0, printed
    assert "Estimate from test runs" in printed
    assert "at $0.34 an hour (cpu-8core)" in printed
    assert not study.runs.parent.exists()

    code, printed = study.finish()
    assert code == 0, printed
    plan = json.loads((study.runs.parent / "plan.json").read_text())
    outcome = json.loads((study.runs.parent / "outcome.json").read_text())
    assert plan["runs"] == outcome["runs"]["ok"] == 5
    assert plan["cells"][0]["source"] == "test runs"
    assert plan["dollars"] is None  # the start named no price
    assert outcome["ended"] == "done"

    code, printed = Study(study.directory, cache, *options, "plan=true", name="again").finish()
    assert code == 0, printed
    assert "Estimate from past runs" in printed
