"""A study outlives what a cluster does to it: one test a fault, on a real Slurm.

After each, every run has exactly one `ok` record with the numbers of the undisturbed study, and none was trained twice
beyond its last checkpoint.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.launch.slurm.commands import SlurmCommands
from harness.launch.slurm.submissions import Jobs, belongs
from harness.records.files import read_jsonl
from tests.slurm.conftest import DevCluster
from tests.slurm.studies import FAULTY, HELD, LONG, VISITS, ClusterStudy

Reference = dict[str, dict[str, dict[str, float]]]
Make = Callable[..., ClusterStudy]

# Waits end when a study gets no further; the time limit is for what hangs elsewhere.
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]


def test_a_time_limit(study: Make, cluster: DevCluster) -> None:
    """Warned before the limit, a run checkpoints, requeues its job and goes on: no second is trained twice."""
    mine = study(*HELD)
    mine.hold()
    mine.start()
    (key,) = mine.training(runs=1)
    # Slurm's limits are minutes. Set when the run trains, it does not matter how long the start took.
    minutes, seconds = cluster.slurm("squeue", "--noheader", "--array", f"--jobs={key}", "--format=%M").split(":")[-2:]
    limit(cluster, key, int(minutes) + (1 if int(seconds) < 25 else 2))
    (log,) = logs(mine)
    mine.wait_for(lambda: "Stopped at" in log.read_text())
    mine.release()
    mine.wait_for(lambda: mine.jobs().get(key, {}).get("state") == "PENDING")
    limit(cluster, key, 60)
    mine.ended()
    records = mine.records()
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert sorted(record["provenance"]["slurm"]["restarts"] for record in records) == [0, 1]
    assert "Continuing from step" in log.read_text()
    mine.trained_once(10)


def limit(cluster: DevCluster, key: str, minutes: int) -> None:
    """Set the time limit of a job."""
    cluster.slurm("scontrol", "update", f"jobid={key}", f"timelimit={minutes}")


def test_preemption_by_a_higher_partition(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """The preempted jobs checkpoint, wait, and go on."""
    mine = study(*LONG, "slurm.partition=low")
    mine.hold(0.3)
    mine.start()
    nodes = {job["node"] for job in mine.training().values()}
    cluster.slurm(
        "sbatch", "--partition=high", "--account=dev", "--exclusive", f"--nodelist={','.join(nodes)}",
        f"--nodes={len(nodes)}", "--output=/dev/null", "--wrap=sleep 15",
    )  # fmt: skip
    mine.checkpointed(2)
    mine.ended()
    assert sum("Continuing from step" in log.read_text() for log in logs(mine)) >= 2
    mine.is_as_undisturbed(reference)


def test_a_requeued_job_and_a_cancelled_one_go_on(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """By somebody: both checkpoint and go on where they were; the cancelled one is placed anew, at no retry's cost."""
    mine = study(*LONG, "launch.retries=0")
    mine.hold(0.3)
    mine.start()
    first, second = mine.training()
    cluster.slurm("scontrol", "requeue", first)
    cluster.slurm("scancel", second)
    mine.checkpointed(2)
    printed = mine.ended()
    assert "CANCELLED" in printed
    assert sum("Continuing from step" in log.read_text() for log in logs(mine)) >= 2
    mine.is_as_undisturbed(reference)


def test_a_node_that_crashes(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """Slurm requeues its jobs elsewhere; they go on from their last checkpoint."""
    mine = study(*LONG)
    mine.hold(0.3)
    mine.start()
    node = next(iter(mine.training().values()))["node"]
    cluster("crash", node)
    mine.release()
    mine.ended()
    assert sum("Continuing from step" in log.read_text() for log in logs(mine)) >= 1
    mine.is_as_undisturbed(reference, hard=1)


def test_a_node_that_freezes_and_comes_back(study: Make, cluster: DevCluster) -> None:
    """The old copies of its jobs run on beside the requeued ones, and write nothing any more."""
    mine = study(*HELD, "train.epochs=20")  # held, it lasts longer than Slurm takes to give the node up
    mine.hold()
    mine.start()
    ((key, job),) = mine.training(runs=1).items()
    trial = mine.runs / "visits.interactions.faulty_slow/trial0000"
    cluster("freeze", job["node"])
    mine.wait_for(lambda: belongs(trial) == {submission_of(mine, key): 1})  # the requeued copy has begun
    old = mine.study / f"jobs/logs/{key}_0_log.out"
    mine.wait_for(lambda: "belongs to another job" in old.read_text() or "Continuing from step" in old.read_text())
    cluster("thaw", job["node"])
    mine.release()
    mine.ended()
    records = mine.records()
    assert [record["status"] for record in records] == ["ok", "ok"]
    tuned = next(record for record in records if record["phase"] == "tune")
    assert tuned["provenance"]["slurm"]["restarts"] == 1
    # Had the old copy written after the new one began, epochs would stand twice or be missing.
    assert [line["epoch"] for line in read_jsonl(trial / "metrics.jsonl")] == list(range(1, 21))


def submission_of(mine: ClusterStudy, key: str) -> str:
    """The token of a job."""
    return next(each.token for each in Jobs(mine.study).open() if each.job_id == key.split("_", maxsplit=1)[0])


def test_a_controller_that_is_away(study: Make, cluster: DevCluster, reference: Reference) -> None:
    """Jobs go on; what ends meanwhile is told at once, and the next is submitted when the controller is back."""
    mine = study(*LONG)
    mine.hold(0.3)
    mine.start()
    mine.training()
    cluster("down", "controller")
    mine.release()
    tuned = (mine.runs / "visits.interactions.faulty_slow" / f"trial{number:04}/record.json" for number in range(2))
    paths = list(tuned)
    mine.wait_for(lambda: all('"ok"' in path.read_text() for path in paths))
    mine.wait_for(lambda: "Slurm does not answer" in mine.printed and "trial 1" in mine.printed)
    cluster("up", "controller")
    printed = mine.ended()
    assert "Slurm answers again" in printed
    mine.is_as_undisturbed(reference)


def test_a_controller_that_has_just_started_is_asked_again(cluster: DevCluster) -> None:
    """For some seconds it refuses every job, as it does not know its nodes yet."""
    script = "#!/bin/bash\n#SBATCH --partition=low\n#SBATCH --account=dev\n#SBATCH --mem=3G\n#SBATCH --time=10\ntrue\n"
    cluster("down", "controller")
    cluster("up", "controller")
    SlurmCommands(3).test(script)


def test_a_coordinator_killed_with_jobs_running_while_accounting_is_away(
    study: Make, cluster: DevCluster, reference: Reference
) -> None:
    """The jobs go on; the next coordinator takes them over and submits none of them again. It needs no accounting."""
    mine = study(*LONG)
    mine.hold(0.3)
    cluster("down", "accounting")
    mine.start()
    before = set(mine.training())
    mine.kill()
    mine.start()
    mine.wait_for(lambda: "are taken over" in mine.printed)
    mine.release()
    printed = mine.ended()
    assert "are taken over" in printed
    tuned = [record["provenance"]["slurm"] for record in mine.records() if record["phase"] == "tune"]
    assert {f"{slurm['array_job_id']}_{slurm['array_task_id']}" for slurm in tuned} == before
    mine.is_as_undisturbed(reference)


def test_a_batch_that_runs_out_of_memory_is_split_then_solo(study: Make) -> None:
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
        *VISITS, "method=item_knn", "tune.trials=3", "tune.startup_trials=3", "confirm.seeds=1", "launch.retries=0",
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
        *VISITS, "method=popularity", "confirm.seeds=1", "launch.retries=0", "slurm.pending_min=0.1",
        "+slurm.additional_parameters.hold=true",
    )  # fmt: skip
    mine.start()
    mine.ended(1)
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
        mine.hold(0.3)
        mine.start()
        mine.training()
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        printed = mine.ended(2)
        assert "The disk is full" in printed
        assert "Traceback" not in printed
        filler.unlink()
        mine.release()
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
        mine = study(*HELD, "launch.retries=0")
        mine.hold()
        mine.start()
        (key,) = mine.training(runs=1)
        cluster.slurm("scancel", key)
        mine.release()
        printed = mine.ended()
        assert "CANCELLED" in printed
        assert [record["status"] for record in mine.records()] == ["ok"] * 2
    finally:
        cluster("stop")
        cluster("start")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_random_faults_for_ten_minutes(study: Make, cluster: DevCluster) -> None:
    """Every few seconds something else happens."""
    mine = study(
        "method=lora", "tune.trials=20", "tune.startup_trials=20", "confirm.seeds=3", "train.epochs=200",
        "train.batch_size=4", "train.checkpoint_seconds=1", "launch.threads=1", "slurm.partition=low",
        "launch.retries=30",
    )  # fmt: skip
    moments = random.Random(0)
    mine.start()
    end = time.monotonic() + 600
    happened = []
    while time.monotonic() < end or len(happened) < 40:
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
            mine.kill()
            mine.start()
        elif fault == "controller":
            cluster("down", "controller")
            time.sleep(5)
            cluster("up", "controller")

    mine.ended()
    records = mine.records()
    print(len(happened), happened)
    assert [record["status"] for record in records] == ["ok"] * 23
    assert len({record["signature"] for record in records}) == len(records)
    for metrics in mine.runs.glob("*/*/metrics.jsonl"):
        assert [line["epoch"] for line in read_jsonl(metrics)] == list(range(1, 201)), metrics
    assert len(happened) >= 40


def logs(mine: ClusterStudy) -> list[Path]:
    return sorted(mine.runs.glob("*/*/log.txt"))
