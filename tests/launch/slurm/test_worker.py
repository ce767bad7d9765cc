"""What a job of a cluster does with its pack; no cluster is needed for that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.launch.slurm import worker
from harness.launch.slurm.submissions import Jobs, grant
from harness.launch.slurm.worker import EndSignals, TaskStart
from harness.launch.step_ranks import StepRanks
from harness.records.run_spec import RunBatch, RunSpec
from tests.helpers.small_dataset import record, spec
from tests.helpers.small_dataset import short_config as config


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_job_of_a_cluster_goes_on_with_its_next_run_when_one_pauses(jobs: Jobs, tmp_path: Path, cache: Path) -> None:
    """The coordinator hears that each has done what was asked; requeued, the job finds nothing left to do."""
    runs = tuple(
        replace(spec(config(tmp_path, cache, method), tmp_path / method, phase="tune"), rungs=(1,), until=1)
        for method in ("lora", "nearest_mean")
    )
    submission = jobs.intend([RunBatch(runs)], {}, tmp_path, threads=1, max_requeues=5)
    for restart in (0, 1):
        assert TaskStart(jobs, submission.token, 0, restart).execute(Quiet(), threads=1)
        assert sorted(str(marker).split(".", 2)[2] for marker in jobs.markers()) == ["run.0", "run.1"]
    assert [record(run).status for run in runs] == ["running", "ok"]
    assert runs[0].paths.log.read_text().count("Paused at 1 epochs.") == 1


def test_runs_of_a_job_share_passes_and_go_on_together_after_a_warning(jobs: Jobs, tmp_path: Path, cache: Path) -> None:
    """They end as alone, and each is told when it has ended, the short one before the others."""
    runs = tuple(
        replace(spec(config(tmp_path, cache, train__epochs=epochs, seed=seed), tmp_path / f"{seed}"), rungs=())
        for seed, epochs in enumerate((1, 3, 3))
    )
    submission = jobs.intend([RunBatch(runs, together=3)], {}, tmp_path, threads=1, max_requeues=5)
    warning = Quiet()
    warning.after(lambda: bool(jobs.markers()))
    assert not TaskStart(jobs, submission.token, 0, 0).execute(warning, threads=1)
    assert [str(marker).split(".", 2)[2] for marker in jobs.markers()] == ["run.0"]
    assert [record(run).status for run in runs] == ["ok", "running", "running"]
    assert TaskStart(jobs, submission.token, 0, 1).execute(Quiet(), threads=1)
    assert sorted(str(marker).split(".", 2)[2] for marker in jobs.markers()) == ["run.0", "run.1", "run.2"]
    assert [record(run).cost["fused_runs"] for run in runs] == [3, 2, 2]
    for run in runs:
        alone = replace(run, directory=f"{run.directory}-alone")
        submission = jobs.intend([RunBatch((alone,))], {}, tmp_path, threads=1, max_requeues=5)
        assert TaskStart(jobs, submission.token, 0, 0).execute(Quiet(), threads=1)
        for name, value in record(alone).metrics["val"].items():
            assert record(run).metrics["val"][name] == pytest.approx(value, abs=1e-4)


def test_a_run_that_was_given_to_another_job_is_left_out(jobs: Jobs, tmp_path: Path, cache: Path) -> None:
    """The others of its pack are executed; nothing is written of it."""
    runs = tuple(spec(config(tmp_path, cache, seed=seed), tmp_path / f"{seed}") for seed in range(3))
    submission = jobs.intend([RunBatch(runs, together=2)], {}, tmp_path, threads=1, max_requeues=5)
    grant(runs[1].paths.directory, "another")
    assert TaskStart(jobs, submission.token, 0, 0).execute(Quiet(), threads=1)
    assert sorted(str(marker).split(".", 2)[2] for marker in jobs.markers()) == ["run.0", "run.2"]
    assert not runs[1].paths.record.exists()


def test_a_run_that_is_asked_to_stop_ends_its_job(jobs: Jobs, tmp_path: Path, cache: Path) -> None:
    """What is not done is placed anew by the coordinator."""
    runs: tuple[RunSpec, ...] = tuple(spec(config(tmp_path, cache, seed=n), tmp_path / f"{n}") for n in range(2))
    submission = jobs.intend([RunBatch(runs, together=2)], {}, tmp_path, threads=1, max_requeues=5)
    for run in runs:
        run.paths.ask("checkpoint")
    assert TaskStart(jobs, submission.token, 0, 0).execute(Quiet(), threads=1)
    assert [str(marker).split(".", 2)[2] for marker in jobs.markers()] == ["stopped.0"]


def test_rank_0_says_for_all_that_a_submission_is_closed(
    jobs: Jobs, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins the others first, so that none waits for it, although each may have read the file before."""
    submission = jobs.intend([RunBatch((spec(config(tmp_path, cache), tmp_path / "run"),))], {}, tmp_path, 1, 5)
    jobs.close(submission)
    done: list[str] = []

    def join(interrupted: Callable[[], bool], threads: int, device: str, key: str) -> bool:
        done.extend((device, key))
        return True

    step = SimpleNamespace(size=2, named="", join=join, dismiss=lambda: done.append("dismissed"))
    monkeypatch.setattr(StepRanks, "of_environment", lambda: step)
    monkeypatch.setattr(worker, "EndSignals", Quiet)
    monkeypatch.setattr(sys, "argv", ["worker", str(jobs.study), submission.token])
    assert worker.main() == 0
    assert done == ["auto", submission.token, "dismissed"]  # its batches, which name a device, are deleted


class Quiet(EndSignals):
    """No signals: this process is the test's own."""

    def __init__(self) -> None:
        self.limit = self.ending = False
        self._due: Callable[[], bool] = lambda: False

    def after(self, due: Callable[[], bool]) -> None:
        """Warn once something is so."""
        self._due = due

    def __call__(self) -> bool:
        self.limit |= self._due()
        return super().__call__()
