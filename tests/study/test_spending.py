"""What jobs under way are paid for."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from harness.config.schema import Config, HardwareConfig, LaunchConfig
from harness.records.record import PAUSED, Record
from harness.records.run_records import RunRecords
from harness.records.study_files import RunPaths
from harness.study import spending as module
from harness.study.spending import Spending


def write(directory: Path, ago: float, status: str = "running", **cost: float) -> str:
    """Leave the record of a run that began so many seconds ago; its directory."""
    record = Record("signature", status, "study", "cell", "tune", "task", "model", "method", 0)
    record.started = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
    record.cost = dict(cost)
    directory.mkdir(parents=True, exist_ok=True)
    record.write(directory / "record.json")
    return str(directory)


def test_runs_of_one_job_are_paid_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while some of them have ended: what those took is not counted with the rest once more."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    config = Config(hardware=HardwareConfig("m", 3600.0, cores=1), launch=LaunchConfig(kind="slurm", threads=1))
    records = RunRecords(tmp_path / "runs", pytest.fail)
    base = OmegaConf.create({"device": "cpu", "method": {}, "model": {}})
    found = Spending(tmp_path, records, config, base, 4, time.monotonic())  # type: ignore[arg-type]  # read like a mapping
    one, other = (write(tmp_path / "runs/cell" / name, 10.0) for name in ("one", "other"))
    alone = write(tmp_path / "runs/cell/alone", 3.0)
    waits = write(tmp_path / "runs/cell/waits", 99.0, **{PAUSED: 1.0, "total_seconds": 0.0})
    found.under_way = {one: "job", other: "job", alone: "another", waits: "queued"}
    assert found.dollars == pytest.approx(13.0, abs=0.5)
    write(tmp_path / "runs/cell/one", 10.0, "ok", total_seconds=4.0, core_seconds=4.0)
    records.refresh(RunPaths(Path(one)))
    found.under_way = {other: "job"}
    assert found.dollars == pytest.approx(10.0, abs=0.5)
