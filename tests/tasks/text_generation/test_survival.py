"""Studies of texts that are killed go on, and promote by rungs, as those of classes do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.records.files import read_jsonl
from tests.helpers.waits import wait_for
from tests.helpers.writing_studies import overrides, write_texts
from tests.study.test_survival import Study

Main = Callable[..., tuple[int, str]]


def test_a_study_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, cache: Path) -> None:
    """Within a training: it goes on from the checkpoint, and has the scores and texts of the other."""
    asked = (
        "method=lora", "tune.trials=1", "confirm.seeds=1", "train.epochs=30", "train.checkpoint_seconds=0.05",
        "launch.kind=inline", "launch.threads=1", "keep=none",
    )  # fmt: skip
    found = []
    for name in ("killed", "straight"):
        study = Study(tmp_path / name, cache, *asked)
        study.command = write_texts(study.command, tmp_path / name)
        if name == "killed":
            process = study.begin()
            wait_for(lambda runs=study.runs: any(runs.glob("*/trial*/checkpoint/*.safetensors")))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        code, printed = study.finish()
        assert code == 0, printed
        found.append(study.records())
    killed, straight = found
    assert [each["status"] for each in killed] == ["ok", "ok"] and max(each["cost"]["resumes"] for each in killed) >= 1
    for one, other in zip(killed, straight, strict=True):
        for split in ("val", "test"):
            assert one["metrics"][split] == pytest.approx(other["metrics"][split], abs=1e-6)


def test_promotion_by_rungs(tmp_path: Path, main: Main) -> None:
    """Trials pause at rungs, also fused ones, and no epoch is trained twice."""
    code, printed = main(
        "-m", "study=rungs", *overrides(tmp_path), "method=lora", "tune.pruner=asha", "tune.reduction_factor=2",
        "tune.trials=4", "tune.sampler=random", "train.epochs=4", "confirm.seeds=1", "launch.kind=inline",
        "launch.threads=1", "launch.fuse=2",
    )  # fmt: skip
    assert code == 0, printed
    study = tmp_path / "runs" / "rungs"
    records = [json.loads(path.read_text(encoding="utf-8")) for path in study.glob("runs/*/trial*/record.json")]
    assert {each["status"] for each in records} == {"ok", "pruned"}
    assert max(each["cost"]["fused_runs"] for each in records) == 2
    for path in study.glob("runs/*/trial*/metrics.jsonl"):
        epochs = [line["epoch"] for line in read_jsonl(path)]
        assert epochs == list(range(1, len(epochs) + 1))
    assert not list(study.glob("runs/*/*/checkpoint"))
