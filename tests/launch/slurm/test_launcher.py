"""What the launcher of job arrays makes of the markers that jobs leave; no cluster is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.schema import LaunchConfig, SlurmConfig
from harness.launch.slurm.array_task import ArrayTask
from harness.launch.slurm.launcher import SlurmLauncher
from harness.launch.slurm.submissions import Marker
from harness.records.run_spec import RunBatch
from tests.helpers.small_dataset import ROOT, config, spec


@pytest.mark.parametrize("together", [1, 2])
def test_runs_that_come_to_a_rung_in_shared_passes_are_told_together(
    together: int, tmp_path: Path, cache: Path
) -> None:
    """The first would be judged before those beside it had reported; one that computes alone is told at once."""
    launcher = SlurmLauncher(LaunchConfig(kind="slurm"), SlurmConfig(), tmp_path, ROOT, pytest.fail)
    composed = config(tmp_path, cache)
    runs = tuple(spec(composed, tmp_path / f"trial{n}", phase="tune", trial=n, rungs=(1, 2), until=1) for n in range(2))
    submission = launcher.jobs.intend([RunBatch(runs, together)], {}, tmp_path, threads=1, max_requeues=5)
    launcher._live.append(ArrayTask(RunBatch(runs, together), submission, 0, {0, 1}))
    told = []
    for number in range(2):
        launcher.jobs.mark(Marker(submission.token, 0, "run", number))
        told.append([outcome.runs for outcome in launcher._look()])
    assert told == ([[runs[:1]], [runs[1:]]] if together == 1 else [[], [runs]])
    assert not launcher._look()
