"""Costs of serving, and what a run held of its machine."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.records.run_spec import RunBatch
from harness.runs import execute as run
from harness.runs import measurements
from harness.runs.execute import execute
from tests.helpers.small_dataset import config, record, spec


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_confirmation_measures_serving(tmp_path: Path, cache: Path) -> None:
    """Runs that meet the test split know latency, throughput and size; tuning does not spend time on them."""
    confirm = spec(config(tmp_path, cache, "linear_probe"), tmp_path / "confirm", phase="confirm")
    tune = spec(config(tmp_path, cache, "linear_probe"), tmp_path / "tune", phase="tune")
    execute(RunBatch((confirm, tune)))
    cost = record(confirm).cost
    assert 0 < cost["latency_p50_seconds"] <= cost["latency_p95_seconds"]
    assert cost["throughput_per_second"] > 1 / cost["latency_p95_seconds"]  # a batch is faster than one by one
    assert cost["saved_bytes"] == 3 * 385 * 4  # a linear head on 384 features, three classes
    assert cost["serve_seconds"] > 0
    assert "latency_p50_seconds" not in record(tune).cost


def test_what_is_held(tmp_path: Path, cache: Path) -> None:
    """On a CPU core-seconds are known, accelerator-seconds and energy are not."""
    planned = spec(config(tmp_path, cache, "nearest_mean"), tmp_path / "run", phase="tune")
    execute(RunBatch((planned,)))
    cost = record(planned).cost
    assert cost["core_seconds"] == pytest.approx(cost["total_seconds"], rel=1e-3)
    assert cost["accelerator_seconds"] is None and cost["energy_joules"] is None


def test_shared_accelerator() -> None:
    """Runs that share a GPU are each charged their share."""
    assert measurements.occupied(60.0, "cuda", 3)["accelerator_seconds"] == 20.0
    assert measurements.occupied(60.0, "cuda", 1)["accelerator_seconds"] == 60.0


def test_failed_measurement_costs_no_result(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that goes wrong leaves the figure unknown and is told; the run stays ok."""

    def broken(*_: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(run, "serving", broken)
    planned = spec(config(tmp_path, cache, "linear_probe"), tmp_path / "run", phase="confirm")
    lines: list[str] = []
    execute(RunBatch((planned,)), say=lines.append)
    assert record(planned).status == "ok" and "latency_p50_seconds" not in record(planned).cost
    assert any("could not be measured" in line for line in lines)
