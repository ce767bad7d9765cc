"""What a single run prints whose processes are not this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from harness.config.schema import Config
from harness.formatting.console import new_console
from harness.launch.base import Job, Outcome
from harness.launch.local import single_run
from harness.records.files import now
from harness.records.record import Record
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.states import Phase, RunStatus
from harness.study import run_single


class Worker:
    """A launcher that executes `single_run` in this process, in place of a worker."""

    def __init__(self, config: Any, device: str, work: float, interrupted: Any, module: str) -> None:
        assert (config.timeout_min, config.workers, module) == (None, 1, single_run.__name__)

    def submit(self, batch: RunBatch) -> Job:
        """Execute it."""
        single_run.execute(batch, lambda: False)
        self.job = Job(batch)
        return self.job

    def wait(self, seconds: float) -> list[Outcome]:
        """It has ended."""
        return [Outcome(self.job)]

    def close(self) -> None:
        """Nothing is left."""


def test_a_run_in_other_processes_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it, also after a longer log of an earlier attempt, and not the lines that only the log has; no limit."""
    config = OmegaConf.structured(Config)
    config.launch.devices_per_run = 2
    plain = {"task": {"name": "t"}, "model": {"name": "m"}, "method": {"name": "x"}, "seed": 0}
    one = RunSpec(str(tmp_path / "run"), plain, "signature", "single", "cell", Phase.SINGLE)
    one.paths.directory.mkdir(parents=True)
    one.paths.log.write_text("a line of an earlier attempt\n" * 99, encoding="utf-8")
    one.paths.shown.write_text("left by a process that was killed\n", encoding="utf-8")

    def execute(batch: RunBatch, interrupted: Any, say: Any) -> None:
        one.paths.log.write_text("Epoch 1\nTraceback\n", encoding="utf-8")
        say("Epoch 1")
        record = one.new_record(RunStatus.OK)
        record.started = record.ended = now()
        record.write(one.paths.record)

    monkeypatch.setattr(single_run, "execute_batch", execute)
    monkeypatch.setattr(run_single, "make_launcher", Worker)
    record = run_single._execute(new_console(), config, RunBatch((one,)))
    assert isinstance(record, Record) and record.status == RunStatus.OK
    assert capsys.readouterr().out.splitlines() == ["Epoch 1"]
    assert not one.paths.shown.exists()
