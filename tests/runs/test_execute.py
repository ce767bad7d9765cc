"""A pack of runs leaves records: what they hold, what goes wrong, and how runs go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from harness.api.metric import evaluate
from harness.features.worker_state import WORKER_STATE
from harness.records.files import read_jsonl
from harness.records.run_spec import RunBatch
from harness.runs.execute import execute, explain
from harness.tasks.text_classification.metrics import METRICS
from tests.helpers.small_dataset import config as whole_config
from tests.helpers.small_dataset import record, spec, write_rows
from tests.helpers.small_dataset import short_config as config

COSTS = {
    "data_seconds", "model_seconds", "train_seconds", "evaluate_seconds", "save_seconds", "total_seconds",
    "samples_per_second", "tokens_per_second", "params_trainable", "params_total", "saved_bytes", "peak_memory_mb",
    "threads", "device",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_single_run_leaves_everything(tmp_path: Path, cache: Path) -> None:
    """A single run leaves configuration, a record with metrics and costs, epochs, predictions, a log and a model."""
    planned = spec(whole_config(tmp_path, cache), tmp_path / "run")
    lines: list[str] = []
    execute(RunBatch((planned,)), say=lines.append)
    found, paths = record(planned), planned.paths
    assert found.status == "ok" and found.error is None
    assert found.metrics["test"]["accuracy"] is not None and found.metrics["test"]["accuracy"] > 0.8
    assert COSTS | {"best_epoch", "epochs", "steps"} <= set(found.cost)
    assert found.cost["params_trainable"] == 6 * 2 * 2 * 8 * 384 + 3 * 385  # LoRA r=8 on query and value, and the head
    assert found.cost["epochs"] == 2 and found.cost["steps"] == 2 * 4
    assert {"torch", "peft", "transformers", "python", "harness", "numerics_version", "model_digest"} <= set(
        found.provenance
    )
    assert found.provenance["numerics"] == {"dropout_masks": "native", "precision": "fp32"}  # as `auto` is in a run
    assert found.data["fingerprint"] and "truncated" in found.data
    assert yaml.safe_load(paths.config.read_text()) == planned.config
    assert [line["epoch"] for line in read_jsonl(paths.metrics)] == [1, 2]
    assert any(
        line.startswith("Epoch 2, train loss: ") and ", dev loss: " in line and ", dev acc: " in line for line in lines
    )
    assert lines[-1].startswith("Test loss: ") and ", test acc: " in lines[-1]
    assert paths.log.read_text().splitlines() == lines
    table = pd.read_parquet(paths.predictions)
    assert table["split"].value_counts().to_dict() == {"validation": 24, "test": 24}
    test = table[table["split"] == "test"]
    labels = sorted(test["label"].unique())
    probabilities = np.stack(list(test["probabilities"]))
    codes = np.array([labels.index(name) for name in test["label"]])
    assert evaluate(METRICS, codes, probabilities) == pytest.approx(found.metrics["test"])
    assert (paths.model / "harness.json").is_file() and not paths.checkpoint.exists()


def test_tuning_never_sees_the_test_split(tmp_path: Path, cache: Path) -> None:
    """A tuning run has validation metrics, but no test metrics, no predictions and no model."""
    planned = spec(config(tmp_path, cache, "linear_probe"), tmp_path / "run", phase="tune")
    execute(RunBatch((planned,)))
    found = record(planned)
    assert found.status == "ok" and found.metrics["val"]["accuracy"] is not None and found.metrics["test"] == {}
    assert not planned.paths.predictions.exists() and not planned.paths.model.exists()


def test_same_run_twice_is_equal_bit_for_bit(tmp_path: Path, cache: Path) -> None:
    """The same configuration and seed give the same numbers and predictions twice; another seed gives others."""
    tables = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        planned = spec(config(tmp_path, cache, seed=seed), tmp_path / name)
        execute(RunBatch((planned,)))
        tables.append((record(planned).metrics, planned.paths.predictions.read_bytes()))
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_finished_run_is_left_alone(tmp_path: Path, cache: Path) -> None:
    """A run whose record is ok with the same signature is not executed again; another signature is."""
    planned = spec(config(tmp_path, cache, "linear_probe"), tmp_path / "run")
    execute(RunBatch((planned,)))
    before = planned.paths.record.stat().st_mtime_ns
    execute(RunBatch((planned,)))
    assert planned.paths.record.stat().st_mtime_ns == before
    other = spec(config(tmp_path, cache, "linear_probe", method__C=1.0), tmp_path / "run")
    execute(RunBatch((other,)))
    assert record(other).signature == other.signature


def test_failure_is_a_record_and_the_next_run_follows(tmp_path: Path, cache: Path) -> None:
    """A run that cannot be done leaves a failed record with a message; the rest of its pack is executed."""
    bad = spec(
        config(tmp_path, cache, "lora", method__config__target_modules=["nonsense"]), tmp_path / "bad", phase="tune"
    )
    good = spec(config(tmp_path, cache, "nearest_mean"), tmp_path / "good", phase="tune")
    execute(RunBatch((bad, good)))
    assert record(good).status == "ok"
    found = record(bad)
    assert found.status == "failed" and found.error is not None
    assert "method=lora cannot adapt model=minilm" in found.error and "query" in found.error
    assert found.metrics["val"] == {}


def test_unexpected_exception_keeps_its_traceback_in_the_log(tmp_path: Path, cache: Path) -> None:
    """What the program did not foresee is named in the record, with the traceback in the log."""
    planned = spec(config(tmp_path, cache, train__batch_size="many"), tmp_path / "run", phase="tune")
    execute(RunBatch((planned,)))
    assert record(planned).status == "failed" and "TypeError" in str(record(planned).error)
    assert "Traceback" in planned.paths.log.read_text()


def test_non_finite_loss_names_step_and_rate(tmp_path: Path, cache: Path) -> None:
    """Training that diverges is a failed run that names the step and the learning rate."""
    planned = spec(config(tmp_path, cache, "full", train__lr=1e30, train__clip=0.0), tmp_path / "run", phase="tune")
    execute(RunBatch((planned,)))
    found = record(planned)
    assert found.status == "failed"
    assert "non-finite at step" in str(found.error) and "train.lr=1e+30" in str(found.error)


def test_out_of_memory_names_batch_size_and_accumulation() -> None:
    """Running out of memory tells which settings to change."""
    train = {"batch_size": 64, "accumulate": 1, "eval_batch_size": 128}
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("x"),
        RuntimeError("[enforce fail] can't allocate memory: 9 bytes"),
    ):
        message = explain(error, {"train": train, "task": {"kind": "demo"}})
        assert "train.batch_size=64 and train.accumulate=1" in message
        assert "train.batch_size=32 train.accumulate=2" in message
    failed = {"train": train, "task": {"kind": "demo"}, "launch": {"devices_per_run": 48}, "method": {}}
    message = explain(MemoryError(), failed)
    assert "train.batch_size=64 on 48 devices" in message and "Try train.batch_size" not in message
    failed["launch"]["devices_per_run"] = 32
    assert "train.batch_size=32 train.accumulate=2" in explain(MemoryError(), failed)
    assert "Out of memory" not in explain(RuntimeError("shape mismatch"), {"train": train, "task": {"kind": "demo"}})


def test_device_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    """A device that torch does not find is a failed run that names those it finds."""
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    planned = spec(config(tmp_path, cache, device="cuda"), tmp_path / "run")
    execute(RunBatch((planned,)))
    assert "device=cuda is not available" in str(record(planned).error) and "finds cpu" in str(record(planned).error)


def test_data_that_changed_since_planning_is_refused(tmp_path: Path, cache: Path) -> None:
    """A warm process sees that a file changed: a new plan runs on the new rows, an old plan fails."""
    old = spec(config(tmp_path, cache, "nearest_mean"), tmp_path / "old", phase="tune")
    execute(RunBatch((old,)))
    write_rows(tmp_path / "train.csv", 9, seed=7)
    new = spec(config(tmp_path, cache, "nearest_mean"), tmp_path / "new", phase="tune")
    assert new.signature != old.signature
    execute(RunBatch((new,)))
    assert record(new).status == "ok" and record(new).data["rows"] != record(old).data["rows"]
    late = spec(config(tmp_path, cache, "nearest_mean"), tmp_path / "late", phase="tune")
    write_rows(tmp_path / "train.csv", 8, seed=8)
    WORKER_STATE.datasets.values.clear()
    execute(RunBatch((late,)))
    assert "have changed since" in str(record(late).error)


def test_interrupted_run_goes_on_and_ends_the_same(tmp_path: Path, cache: Path) -> None:
    """A run stopped at any step and executed again gives the record and predictions of one that was never stopped."""
    whole = spec(config(tmp_path, cache), tmp_path / "whole")
    execute(RunBatch((whole,)))
    halting = spec(config(tmp_path, cache), tmp_path / "halting")
    attempts = 0
    while not halting.paths.record.exists() or record(halting).status == "running":
        attempts += 1
        countdown = iter([False] * 3)
        execute(RunBatch((halting,)), interrupted=lambda steps=countdown: next(steps, True))  # type: ignore[misc]
    assert attempts == 3  # 8 steps, three an attempt
    assert record(halting).metrics == record(whole).metrics
    assert halting.paths.predictions.read_bytes() == whole.paths.predictions.read_bytes()
    assert record(halting).cost["resumes"] == attempts - 1
    kept = [
        {key: line[key] for key in ("epoch", "step", "train_loss", "val")} for line in read_jsonl(halting.paths.metrics)
    ]
    assert kept == [
        {key: line[key] for key in ("epoch", "step", "train_loss", "val")} for line in read_jsonl(whole.paths.metrics)
    ]
    assert not halting.paths.checkpoint.exists()


def test_stop_file_prunes_or_checkpoints(tmp_path: Path, cache: Path) -> None:
    """`prune` in the stop file ends a run as pruned; `checkpoint` leaves it running, to go on later."""
    planned = spec(config(tmp_path, cache), tmp_path / "run", phase="tune")
    planned.paths.directory.mkdir()
    planned.paths.stop.write_text("checkpoint")
    execute(RunBatch((planned,)))
    assert record(planned).status == "running" and planned.paths.checkpoint.is_dir() and not planned.paths.stop.exists()
    planned.paths.stop.write_text("prune")
    execute(RunBatch((planned,)))
    assert record(planned).status == "pruned" and not planned.paths.checkpoint.exists()
    assert not planned.paths.stop.exists()


def test_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, cache: Path) -> None:
    """After `kill -9` in the middle of training the same run ends as one that was never killed."""
    composed = config(tmp_path, cache, train__checkpoint_seconds=0.0, train__epochs=6)
    planned = spec(composed, tmp_path / "run")
    (tmp_path / "spec.json").write_text(json.dumps(planned.__dict__))
    code = (
        f"import json, sys, torch; torch.set_num_threads({torch.get_num_threads()})\n"
        "from harness.records.run_spec import RunBatch, RunSpec\nfrom harness.runs.execute import execute\n"
        "execute(RunBatch((RunSpec(**json.load(open(sys.argv[1]))),)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "spec.json")], env=os.environ.copy())
    deadline = time.monotonic() + 120
    while len(read_jsonl(planned.paths.metrics)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert record(planned).status == "running" and planned.paths.checkpoint.is_dir()
    lines: list[str] = []
    execute(RunBatch((planned,)), say=lines.append)
    assert any(line.startswith("Continuing from step") for line in lines)
    whole = spec(composed, tmp_path / "whole")
    execute(RunBatch((whole,)))
    assert record(planned).metrics == record(whole).metrics
    assert [line["epoch"] for line in read_jsonl(planned.paths.metrics)] == [1, 2, 3, 4, 5, 6]


def test_damaged_checkpoint_and_record_start_anew(tmp_path: Path, cache: Path) -> None:
    """A checkpoint or record cut by a full disk costs a warning and a fresh start, not the run."""
    planned = spec(config(tmp_path, cache), tmp_path / "run", phase="tune")
    countdown = iter([False] * 3)
    execute(RunBatch((planned,)), interrupted=lambda: next(countdown, True))
    (file,) = planned.paths.checkpoint.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    lines: list[str] = []
    execute(RunBatch((planned,)), say=lines.append)
    assert record(planned).status == "ok"
    assert any(line.startswith("Warning: ") and "cannot be read" in line for line in lines)
    planned.paths.record.write_text('{"signature": "ab', encoding="utf-8")
    execute(RunBatch((planned,)))
    assert record(planned).status == "ok"


@pytest.mark.parametrize("method", ["linear_probe", "lora"])
def test_folds_choose_within_the_rows(method: str, tmp_path: Path, cache: Path) -> None:
    """With kfold a tuning run averages the folds; its confirmation trains on all rows and has no validation metrics."""
    composed = config(tmp_path, cache, method, task={"validation": "kfold", "validation_path": None, "folds": 3})
    tune = spec(composed, tmp_path / "tune", phase="tune")
    execute(RunBatch((tune,)))
    found = record(tune)
    assert found.error is None and found.cost["folds"] == 3 and found.metrics["val"]["accuracy"] is not None
    if method == "lora":
        assert sorted((line["fold"], line["epoch"]) for line in read_jsonl(tune.paths.metrics)) == [
            (fold, epoch) for fold in range(3) for epoch in (1, 2)
        ]
        composed["train"]["stop_epoch"] = found.cost["best_epoch"]
    confirm = spec(composed, tmp_path / "confirm", phase="confirm")
    execute(RunBatch((confirm,)))
    assert record(confirm).metrics["val"] == {} and record(confirm).metrics["test"]["accuracy"] is not None
    if method == "lora":
        assert record(confirm).cost["epochs"] == found.cost["best_epoch"]


def test_interrupted_folds_go_on(tmp_path: Path, cache: Path) -> None:
    """A run over folds that is stopped in its second fold neither repeats the first nor ends otherwise."""
    composed = config(
        tmp_path, cache, task={"validation": "kfold", "validation_path": None, "folds": 2}, train__epochs=1
    )
    whole, halting = (spec(composed, tmp_path / name) for name in ("whole", "halting"))
    execute(RunBatch((whole,)))
    countdown = iter([False] * 2)  # asked at the start and after each step but the last: two steps a fold
    execute(RunBatch((halting,)), interrupted=lambda: next(countdown, True))
    assert record(halting).status == "running"
    lines: list[str] = []
    execute(RunBatch((halting,)), say=lines.append)
    assert not any(line.startswith("Fold 1") for line in lines) and any(line.startswith("Fold 2") for line in lines)
    assert record(halting).metrics == record(whole).metrics


def test_model_pooling_has_no_features(tmp_path: Path, cache: Path) -> None:
    """The architecture's own head works for trained methods, with a note on the head; the probe refuses it."""
    probe = spec(config(tmp_path, cache, "linear_probe", model__pooling="model"), tmp_path / "probe", phase="tune")
    lora = spec(config(tmp_path, cache, "lora", model__pooling="model"), tmp_path / "lora", phase="tune")
    lines: list[str] = []
    execute(RunBatch((probe, lora)), say=lines.append)
    assert "model.pooling=model has none" in str(record(probe).error)
    assert record(lora).status == "ok"
    assert any("head_init=probe does not apply" in line for line in lines)


def test_warm_process_adds_little(tmp_path: Path, cache: Path) -> None:
    """On a warm process a run that fits a probe spends well under half a second besides the fit."""
    runs = [
        spec(config(tmp_path, cache, "linear_probe", method__C=float(c)), tmp_path / str(c), phase="tune")
        for c in (1, 2, 3)
    ]
    execute(RunBatch(tuple(runs)))
    costs: list[dict[str, Any]] = [record(planned).cost for planned in runs[1:]]
    assert min(cost["total_seconds"] - cost["train_seconds"] for cost in costs) < 0.5


def test_directory_that_cannot_be_written(tmp_path: Path, cache: Path) -> None:
    """A run directory below a file is told in plain words."""
    (tmp_path / "file").write_text("")
    planned = spec(config(tmp_path, cache, "nearest_mean"), tmp_path / "file" / "run")
    with pytest.raises(Exception, match="cannot be written"):
        execute(RunBatch((planned,)))
