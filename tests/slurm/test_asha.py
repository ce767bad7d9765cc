"""Promotion by rungs where every run is a job: what waits holds no job, and who goes on does so on any node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.records.files import read_jsonl
from tests.slurm.studies import VISITS, ClusterStudy

# Waits end when a study gets no further; the time limit is for what hangs elsewhere.
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]

PRUNED = (
    "tune.trials=4", "tune.startup_trials=4", "tune.pruner=asha", "tune.reduction_factor=2",
    "confirm.seeds=1", "train.epochs=4", "train.batch_size=4", "launch.threads=1",
)  # fmt: skip


@pytest.mark.parametrize(
    "shared",
    ["launch.runs_per_job=1", pytest.param("launch.runs_per_job=2", marks=pytest.mark.long), "launch.fuse=2"],
)
def test_paused_runs_go_on_in_other_jobs_also_after_the_coordinator_was_killed(
    study: Callable[..., ClusterStudy], shared: str
) -> None:
    """Alone or several in a job: no epoch is trained twice, and all come to rest."""
    fused = shared == "launch.fuse=2"
    what = ("method=lora",) if fused else (*VISITS, "method=sasrec", "method.width=8")
    mine = study(*what, *PRUNED, shared)
    mine.start()
    mine.wait_for(lambda: waiting(mine.runs) >= 2)
    mine.kill()
    mine.start()
    printed = mine.ended()
    records = mine.records()
    assert {record["status"] for record in records} == {"ok", "pruned"}, printed
    tuned = [record for record in records if record["phase"] == "tune"]
    assert len(tuned) == 4 and any(record["status"] == "ok" for record in tuned)
    for path in mine.runs.glob("*/trial*/metrics.jsonl"):
        epochs = [line["epoch"] for line in read_jsonl(path)]
        assert epochs == list(range(1, len(epochs) + 1))
    assert not list(mine.runs.glob("*/*/checkpoint"))
    if fused:
        assert max(record["cost"]["fused_runs"] for record in tuned) == 2


def waiting(runs: Path) -> int:
    """Runs that wait at a rung."""
    return sum("paused_at" in path.read_text() for path in runs.glob("*/trial*/record.json"))
