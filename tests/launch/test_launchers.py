"""What every launcher does, and what the local pool does when its workers do not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config.schema import LaunchConfig
from harness.errors import HarnessError
from harness.launch import Launcher, Outcome
from harness.launch.devices import check_devices, divide, visible_gpus
from harness.launch.inline import InlineLauncher
from harness.launch.local.pool import LocalLauncher, _cause, _LastWords, _Worker
from harness.predict import load
from harness.records.record import Record
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from harness.system import resources
from tests.helpers.small_dataset import config, record, short_config, spec
from tests.helpers.waits import STILL_SECONDS


@pytest.fixture(params=["inline", "local"])
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Each launcher in turn."""
    made: Launcher
    if request.param == "inline":
        made = InlineLauncher(1, lambda: False)
    else:
        made = LocalLauncher(workers=1, threads=1, timeout_min=None)
    yield made
    made.close()


@pytest.fixture
def minutes(start_seconds: float) -> float:
    """A short time limit, in which a worker starts and a small run ends all the same."""
    return round(max(0.2, 3 * start_seconds / 60), 2)


@pytest.fixture
def pool(minutes: float) -> Iterator[LocalLauncher]:
    """One warm worker with a short time limit."""
    made = LocalLauncher(workers=1, threads=1, timeout_min=minutes)
    yield made
    made.close()


def faulty(directory: Path, cache: Path, fault: str, name: str = "run") -> RunSpec:
    node = {"_target_": "tests.faulty.methods.Faulty", "name": fault, "fault": fault}
    composed = config(directory, cache, method="nearest_mean")
    return spec({**composed, "method": node, "packages": ["tests"]}, directory / name, phase="tune")


def outcome(launcher: Launcher) -> Outcome:
    end = time.monotonic() + STILL_SECONDS
    while time.monotonic() < end:
        if ended := launcher.wait(1):
            return ended[0]
    pytest.fail("the job did not end")


def status(run: RunSpec) -> str:
    record = Record.read(run.paths.record)
    assert record is not None
    return record.status


def test_a_batch_leaves_a_record_for_each_run(launcher: Launcher, tmp_path: Path, cache: Path) -> None:
    """A run that raises costs itself only; the outcome speaks of the process, the record of the run."""
    runs = tuple(faulty(tmp_path, cache, fault, fault) for fault in ("none", "raise"))
    job = launcher.submit(RunBatch(runs))
    ended = outcome(launcher)
    assert ended == Outcome(job, None)
    assert [status(run) for run in runs] == ["ok", "failed"]
    assert launcher.wait(0) == []


def test_a_killed_worker_costs_its_batch_and_is_replaced(pool: LocalLauncher, tmp_path: Path, cache: Path) -> None:
    """Its reason names the signal; the next pack finds a worker."""
    pool.submit(RunBatch((faulty(tmp_path, cache, "kill", "a"),)))
    well = faulty(tmp_path, cache, "none", "b")
    pool.submit(RunBatch((well,)))
    assert "killed by SIGKILL" in str(outcome(pool).lost)
    assert outcome(pool).lost is None
    assert status(well) == "ok"


def test_a_hanging_worker_is_killed_after_the_time_limit(
    pool: LocalLauncher, minutes: float, tmp_path: Path, cache: Path
) -> None:
    """And the reason names the limit."""
    pool.submit(RunBatch((faulty(tmp_path, cache, "hang"),)))
    assert f"longer than launch.timeout_min={minutes:g}" in str(outcome(pool).lost)


def test_a_batch_is_given_time_as_long_as_its_runs_write_something(minutes: float, tmp_path: Path, cache: Path) -> None:
    """One member that hangs holds the others' worker for one time limit, not for one a member."""
    pool = LocalLauncher(workers=1, threads=1, timeout_min=minutes)
    try:
        runs = tuple(faulty(tmp_path, cache, fault, fault) for fault in ("none", "hang", "raise"))
        began = time.monotonic()
        pool.submit(RunBatch(runs))
        lost = str(outcome(pool).lost)
        assert "No run of its batch wrote" in lost and f"launch.timeout_min={minutes:g}" in lost
        written = max(run.paths.record.stat().st_mtime for run in runs if run.paths.record.exists())
        assert time.time() - written >= minutes * 60
        assert time.monotonic() - began >= minutes * 60
    finally:
        pool.close()


def test_a_worker_killed_while_idle_is_replaced_unnoticed(pool: LocalLauncher, tmp_path: Path, cache: Path) -> None:
    """Nothing was lost, so nothing is reported."""
    pool.submit(RunBatch((faulty(tmp_path, cache, "none", "a"),)))
    assert outcome(pool).lost is None
    victim = pool._workers[0].process
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert pool.wait(1) == []
    run = faulty(tmp_path, cache, "none", "b")
    pool.submit(RunBatch((run,)))
    assert outcome(pool).lost is None
    assert status(run) == "ok"


def test_a_run_of_two_processes_outlives_the_death_of_one(tmp_path: Path, cache: Path) -> None:
    """The loss names the rank; started again, the run goes on and ends as that of one process does."""
    composed = short_config(
        tmp_path, cache, method="bitfit", train__checkpoint_seconds=0, train__dropout_masks="lanes", packages=["tests"]
    )
    composed["method"] = {"_target_": "tests.faulty.methods.Dying", "name": "dying", "mark": str(tmp_path / "mark")}
    together, alone = (spec(composed, tmp_path / name) for name in ("together", "alone"))
    pool = LocalLauncher(workers=1, threads=1, timeout_min=None, devices=2)
    try:
        pool.submit(RunBatch((together,)))
        assert outcome(pool).lost == (
            "Its rank 1 of 2 was killed by SIGKILL (the operating system does this when memory runs out)."
        )
        pool.submit(RunBatch((together,)))
        assert outcome(pool).lost is None
    finally:
        pool.close()
    execute(RunBatch((alone,)))
    one, other = record(together), record(alone)
    assert one.status == other.status == "ok", one.error
    assert (one.provenance["devices"], one.cost["resumes"]) == (2, 1)
    for split, values in other.metrics.items():
        assert one.metrics[split] == pytest.approx(values, abs=1e-4)
    assert one.cost["samples"] == other.cost["samples"]
    assert load(together.paths.model).predict(["my parcel is late"]) == load(alone.paths.model).predict(
        ["my parcel is late"]
    )


def test_the_last_words_of_ranks_are_told() -> None:
    """Where none died by itself, and beside the exit code of one that did."""
    for codes, expected in (
        ([75, 75], "Its processes ended with exit codes [75, 75] (Rank 1 of 2: no route)."),
        ([75, 1], "Its rank 1 of 2 ended with exit code 1 (Rank 1 of 2: no route)."),
    ):
        members: list[Any] = []
        for rank, code in enumerate(codes):
            ours, theirs = multiprocessing.Pipe()
            theirs.send(_LastWords(f"Rank {rank} of 2: no route")) if rank else theirs.close()
            members.append((SimpleNamespace(exitcode=code, join=lambda seconds: None), ours))
        (process, connection), *others = members
        assert _cause(_Worker(process, connection, others)) == expected


def test_a_machine_is_divided_among_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker a GPU, else one a core up to four, then one for every two; what is given is kept."""
    monkeypatch.setattr(resources, "_THREADS", "")
    assert divide(LaunchConfig(), gpus=0, cores=2) == (2, 1)
    assert divide(LaunchConfig(), gpus=0, cores=6) == (4, 1)
    assert divide(LaunchConfig(), gpus=0, cores=16) == (8, 2)
    assert divide(LaunchConfig(workers_per_gpu=2), gpus=4, cores=32) == (8, 4)
    assert divide(LaunchConfig(workers=3, threads=1), gpus=0, cores=16) == (3, 1)
    assert divide(LaunchConfig(devices_per_run=2), gpus=4, cores=32) == (2, 8)
    assert divide(LaunchConfig(devices_per_run=4), gpus=0, cores=2) == (1, 1)


def test_a_run_takes_no_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs where there are any, else cores; the message says how many there are."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    check_devices(LaunchConfig(devices_per_run=2), "auto")
    with pytest.raises(HarnessError, match="takes 4 GPUs, and this process may use 2"):
        check_devices(LaunchConfig(devices_per_run=2, workers=2), "auto")
    with pytest.raises(HarnessError, match="takes 1000 cores"):
        check_devices(LaunchConfig(devices_per_run=1000), "cpu")


def test_gpus_that_a_scheduler_gave_are_the_ones_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_VISIBLE_DEVICES decides; empty means none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == ("2", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()
