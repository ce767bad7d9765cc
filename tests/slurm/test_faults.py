"""A study outlives what a cluster does to it: one test a fault, on a real Slurm.

After each, every run has exactly one `ok` record with the numbers of the undisturbed study, and none was trained twice
beyond its last checkpoint.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.launch.submissions import Jobs, belongs
from harness.record import read_jsonl
from tests.slurm.conftest import DevCluster
from tests.slurm.studies import FAULTY, LONG, ClusterStudy, wait_for

Reference = dict[str, dict[str, dict[str, float]]]
Make = Callable[..., ClusterStudy]

pytestmark = pytest.mark.slurm


def test_a_time_limit(study: Make) -> None:
    """Warned before the limit, a run checkpoints, requeues its job and goes on: no second is trained twice."""
    # 150 steps take longer than the half minute that Slurm's shortest limit leaves for start and training.
    slow = ("method=faulty_slow", "tune.trials=1", "train.epochs=10")
    mine = study(*FAULTY, *LONG, *slow, "slurm.timeout_min=1")
    mine.start()
    mine.ended(timeout=840)  # each start costs part of a minute's limit, more where other tests compute beside it
    records = mine.records()
    assert [record["status"] for record in records] == ["ok", "ok"]
    restarts = [record["provenance"]["slurm"]["restarts"] for record in records]
    assert min(restarts) >= 1, restarts
    assert all("Going on from step" in log.read_text() for log in logs(mine) if "Stopped at" in log.read_text())
    mine.trained_once(10)


def test_preemption_by_a_higher_partition(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """The preempted jobs checkpoint, wait, and go on."""
    mine = study(*LONG, "slurm.partition=low")
    mine.start()
    nodes = {job["node"] for job in mine.training().values()}
    cluster.slurm(
        "sbatch", "--partition=high", "--account=dev", "--exclusive", f"--nodelist={','.join(nodes)}",
        f"--nodes={len(nodes)}", "--output=/dev/null", "--wrap=sleep 15",
    )  # fmt: skip
    mine.ended()
    assert sum("Going on from step" in log.read_text() for log in logs(mine)) >= 2
    mine.is_as_undisturbed(reference)


def test_scontrol_requeue(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """Somebody requeues the jobs: they go on where they were."""
    mine = study(*LONG)
    mine.start()
    for key in mine.training():
        cluster.slurm("scontrol", "requeue", key)
    mine.ended()
    assert sum("Going on from step" in log.read_text() for log in logs(mine)) >= 2
    mine.is_as_undisturbed(reference)


def test_a_node_that_crashes(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """Slurm requeues its jobs elsewhere; they go on from their last checkpoint."""
    mine = study(*LONG)
    mine.start()
    node = next(iter(mine.training().values()))["node"]
    cluster("crash", node)
    mine.ended()
    assert sum("Going on from step" in log.read_text() for log in logs(mine)) >= 1
    mine.is_as_undisturbed(reference, hard=1)


def test_a_node_that_freezes_and_comes_back(study: Make, cluster: DevCluster) -> None:
    """The old copies of its jobs run on beside the requeued ones, and write nothing any more."""
    mine = study(*LONG, "tune.trials=1", "train.epochs=150")  # longer than Slurm takes to give the node up
    mine.start()
    trial = mine.runs / "csv.minilm.lora/trial0000"
    wait_for(lambda: len(read_jsonl(trial / "metrics.jsonl")) >= 3)
    ((key, job),) = mine.jobs().items()
    cluster("freeze", job["node"])
    wait_for(lambda: belongs(trial) == {submission_of(mine, key): 1})  # the requeued copy has begun
    old = mine.study / f"jobs/logs/{key}_0_log.out"
    wait_for(lambda: "belongs to another job" in old.read_text() or "Going on from step" in old.read_text())
    cluster("thaw", job["node"])
    mine.ended()
    records = mine.records()
    assert [record["status"] for record in records] == ["ok", "ok"]
    tuned = next(record for record in records if record["phase"] == "tune")
    assert tuned["provenance"]["slurm"]["restarts"] == 1
    # Had the old copy written after the new one began, epochs would stand twice or be missing.
    assert [line["epoch"] for line in read_jsonl(trial / "metrics.jsonl")] == list(range(1, 151))


def submission_of(mine: ClusterStudy, key: str) -> str:
    """The token of a job."""
    return next(each.token for each in Jobs(mine.study).open() if each.job_id == key.split("_", maxsplit=1)[0])


def test_scancel_by_the_user(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """A cancelled job checkpoints; its run is placed anew, which no retry of its own pays for."""
    mine = study(*LONG, "launch.retries=0")
    mine.start()
    for key in mine.training():
        cluster.slurm("scancel", key)
    printed = mine.ended()
    assert "CANCELLED" in printed
    mine.is_as_undisturbed(reference)


def test_a_controller_that_is_away_for_a_minute(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """Jobs go on; what ends meanwhile is told at once, and the next is submitted when the controller is back."""
    mine = study(*LONG)
    mine.start()
    mine.training()
    cluster("down", "controller")
    time.sleep(60)
    cluster("up", "controller")
    printed = mine.ended()
    assert "Slurm does not answer" in printed
    mine.is_as_undisturbed(reference)


def test_accounting_that_is_away(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """Nothing is noticed of it."""
    mine = study(*LONG)
    cluster("down", "accounting")
    mine.start()
    mine.training()
    mine.ended()
    mine.is_as_undisturbed(reference)


def test_a_coordinator_killed_with_jobs_running(study: Make, reference: Reference) -> None:
    """The jobs go on; the next coordinator takes them over and submits none of them again."""
    mine = study(*LONG)
    mine.start()
    before = set(mine.training())
    mine.kill()
    time.sleep(3)
    mine.start()
    printed = mine.ended()
    assert "are taken over" in printed
    tuned = [record["provenance"]["slurm"] for record in mine.records() if record["phase"] == "tune"]
    assert {f"{slurm['array_job_id']}_{slurm['array_task_id']}" for slurm in tuned} == before
    mine.is_as_undisturbed(reference)


def test_a_pack_that_runs_out_of_memory_is_split_then_solo(study: Make) -> None:
    """Each run alone fits; four one after another in a process that gives nothing back do not."""
    mine = study(
        *FAULTY, "method=faulty_hoard", "tune.trials=4",
        "tune.startup_trials=4", "confirm.seeds=1", "launch.runs_per_job=4", "launch.retries=0",
    )  # fmt: skip
    mine.start()
    printed = mine.ended()
    assert "Memory ran out" in printed
    assert [record["status"] for record in mine.records()] == ["ok"] * 5


def test_a_bad_node_is_avoided(study: Make, cluster: DevCluster) -> None:
    """Its jobs die before a run begins; after some in a row it is excluded, and no run pays for it with a retry."""
    mine = study(
        "method=nearest_mean,linear_probe", "tune.trials=4", "confirm.seeds=2", "launch.retries=0",
        "slurm.setup=['test \"$SLURMD_NODENAME\" != node1']",
    )  # fmt: skip
    mine.start()
    printed = mine.ended()
    assert "Node node1 ended 3 jobs in a row" in printed
    assert {record["status"] for record in mine.records()} == {"ok"}
    assert {record["provenance"]["slurm"]["node"] for record in mine.records()} <= {"node2", "node3", "node4"}


def test_a_job_held_for_ever_is_given_up_with_a_reason(study: Make, cluster: DevCluster) -> None:
    """A run whose jobs wait longer than slurm.pending_min allows ends as lost."""
    mine = study(
        "method=nearest_mean", "tune.trials=1", "confirm.seeds=1", "launch.retries=0", "slurm.pending_min=0.1",
        "+slurm.additional_parameters.hold=true",
    )  # fmt: skip
    mine.start()
    assert mine.process is not None
    printed, _ = mine.process.communicate(timeout=200)
    assert mine.process.returncode == 1, printed
    (record,) = mine.records()
    assert record["status"] == "lost"
    assert "JobHeldUser" in record["error"]
    assert "slurm.pending_min" in record["error"]


def test_a_full_disk(study: Make, cluster: DevCluster, tmp_path: Path, reference: Reference) -> None:
    """The study says so and ends; with space again, the same command goes on, and no run has failed."""
    disk = tmp_path / "study"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)], check=True)
    try:
        mine = study(*LONG, "keep=none", "launch.retries=0")
        mine.start()
        mine.training()
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        assert mine.process is not None
        printed, _ = mine.process.communicate(timeout=200)
        assert mine.process.returncode == 2, printed
        assert "The disk is full" in printed
        assert "Traceback" not in printed
        filler.unlink()
        code, printed = mine.finish()
        assert code == 0, printed
        mine.is_as_undisturbed(reference, hard=1)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)


def test_a_cluster_without_accounting(study: Make, cluster: DevCluster) -> None:
    """Jobs are followed all the same: one that is cancelled is noticed, and its run placed anew."""
    cluster("stop")
    try:
        cluster("start", ACCT="none")
        mine = study(*LONG, "launch.retries=0")
        mine.start()
        for key in mine.training():
            cluster.slurm("scancel", key)
        printed = mine.ended()
        assert "CANCELLED" in printed
        assert [record["status"] for record in mine.records()] == ["ok"] * 3
    finally:
        cluster("stop")
        cluster("start")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_random_faults_for_ten_minutes(study: Make, cluster: DevCluster) -> None:
    """Every few seconds something else happens."""
    mine = study(
        "method=lora", "tune.trials=20", "tune.startup_trials=20", "confirm.seeds=3", "train.epochs=40",
        "train.batch_size=4", "train.checkpoint_seconds=1", "launch.threads=1", "slurm.partition=low",
        "launch.retries=30",
    )  # fmt: skip
    moments = random.Random(0)
    mine.start()
    end = time.monotonic() + 600
    happened = []
    while time.monotonic() < end:
        time.sleep(moments.uniform(3, 12))
        if mine.process is None or mine.process.poll() is not None:
            break
        jobs = [key for key, job in mine.jobs().items() if job["state"] == "RUNNING"]
        fault = moments.choice(["requeue", "scancel", "preempt", "crash", "freeze", "coordinator", "controller"])
        happened.append(fault)
        if fault in ("requeue", "scancel") and jobs:
            command = ["scontrol", "requeue"] if fault == "requeue" else ["scancel"]
            subprocess.run([*command, moments.choice(jobs)], check=False, capture_output=True)
        elif fault == "preempt":
            subprocess.run(
                ["sbatch", "--partition=high", "--account=dev", "--exclusive", "--output=/dev/null", "--wrap=sleep 5"],
                check=False, capture_output=True,
            )  # fmt: skip
        elif fault == "crash":
            node = f"node{moments.randint(1, 4)}"
            cluster("crash", node)
            time.sleep(3)
            cluster("boot", node)
        elif fault == "freeze":
            node = f"node{moments.randint(1, 4)}"
            cluster("freeze", node)
            time.sleep(5)
            cluster("thaw", node)
        elif fault == "coordinator":
            mine.process.send_signal(signal.SIGKILL)
            mine.process.communicate()
            mine.start()
        elif fault == "controller":
            cluster("down", "controller")
            time.sleep(5)
            cluster("up", "controller")

    mine.ended(timeout=1500)
    records = mine.records()
    print(len(happened), happened)
    assert [record["status"] for record in records] == ["ok"] * 23
    assert len({record["signature"] for record in records}) == len(records)
    for metrics in mine.runs.glob("*/*/metrics.jsonl"):
        assert [line["epoch"] for line in read_jsonl(metrics)] == list(range(1, 41)), metrics
    assert len(happened) >= 40


def logs(mine: ClusterStudy) -> list[Path]:
    return sorted(mine.runs.glob("*/*/log.txt"))
