"""What a cluster gets from a study, and what it says to it: resources, arrays, refusals, detached studies, code."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.schema import LaunchConfig, SlurmConfig
from harness.errors import HarnessError
from harness.launch.base import Outcome
from harness.launch.slurm.launcher import SlurmLauncher
from harness.launch.slurm.submissions import Jobs, Submission, grant, holds
from harness.records.run_spec import RunBatch
from tests.helpers.small_dataset import ROOT, config, spec, write_rows
from tests.helpers.waits import STILL_SECONDS, wait_for
from tests.slurm.conftest import DevCluster
from tests.slurm.studies import HELD, PROFILE, THREE, VISITS, ClusterStudy

Make = Callable[..., ClusterStudy]

# Waits end when a study gets no further; the time limit is for what hangs elsewhere.
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_banking77_gives_on_four_nodes_what_it_gives_on_this_machine(
    study: Make, tmp_path: Path, cache: Path, data: Path
) -> None:
    """Same metrics by signature, same best configurations: the same seeds and threads, and only start-up trials."""
    asked = (
        "task=banking77", "task.shots=10", f"task.folder={data / 'banking77'}", "method=linear_probe,lora,full",
        "tune.trials=4", "tune.startup_trials=4", "confirm.seeds=1", "train.epochs=1", "launch.threads=1",
        "launch.fuse=off",
    )  # fmt: skip
    here = bare(ClusterStudy(tmp_path / "here", cache, *asked, "launch.kind=local", "launch.workers=2", profile=False))
    code, printed = here.finish()
    assert code == 0, printed
    there = bare(study(*asked, "launch.runs_per_job=2", "slurm.mem_gb=9"))  # one job fills a node
    there.start()
    there.ended()
    assert there.metrics() == here.metrics()
    assert choices(there) == choices(here)
    assert len({record["provenance"]["slurm"]["node"] for record in there.records()}) == 4


def bare(study: ClusterStudy) -> ClusterStudy:
    """Less a launcher that was named twice."""
    if "launch.kind=local" in study.command:
        study.command.remove("launch.kind=inline")
    return study


def choices(study: ClusterStudy) -> dict[str, dict[str, object]]:
    content = json.loads((study.study / "choices.json").read_text())
    return {cell: {"trial": choice["trial"], "values": choice["hyperparameters"]} for cell, choice in content.items()}


def test_jobs_get_what_the_profile_says_and_the_code_as_it_was(
    cluster: DevCluster, tmp_path: Path, cache: Path
) -> None:
    """`scontrol show job` shows the values, runs see one GPU, and modules edited after submission change nothing."""
    tree = tmp_path / "tree"
    for name in ("harness", "hydra_plugins", "conf", "sweeps", "slurm"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    mine = ClusterStudy(
        tmp_path / "study", cache, *VISITS, "method=sasrec", "method.width=8", *THREE, "slurm.max_queued=1",
        "slurm.gpus_per_node=1", "slurm.cpus_per_task=3", "slurm.mem_gb=2.5", "slurm.timeout_min=17",
        "+model.resources.mem_gb=3.5",
    )  # fmt: skip
    mine.command[1:3] = ["-P", "-m", "harness"]
    mine.root = tree
    try:
        mine.start()
        (key,) = mine.training(runs=1)
        for module in ("train", "run", "metrics"):
            (tree / f"harness/{module}.py").write_text("raise RuntimeError('edited')\n")
        shown = cluster.slurm("scontrol", "show", "job", "--oneliner", key).replace("3584M", "3.50G")
        for expected in (
            "Partition=main", "Account=dev", "CPUs/Task=3", "TimeLimit=00:17:00", "MinMemoryNode=3.50G", "gres",
        ):  # fmt: skip
            assert expected in shown, (expected, shown)
        mine.ended()
    finally:
        mine.kill()
    records = mine.records()
    assert [record["status"] for record in records] == ["ok"] * 3
    assert len({record["provenance"]["code"] for record in records}) == 1
    assert {record["provenance"]["slurm"]["cuda_visible_devices"] for record in records} <= {"0", "1"}


def test_a_cell_raises_its_own_resources_and_the_plan_shows_it(
    main: Callable[..., tuple[int, str]], cluster: DevCluster, tmp_path: Path
) -> None:
    """Full fine-tuning declares more memory than the profile. What Slurm refuses it says before a study starts."""
    write_rows(tmp_path / "mine.csv", per_class=30, seed=0)
    asked = ("-m", "slurm=devcluster", "task=csv", "task.path=mine.csv", "task.label=topic", "study=mine")
    code, printed = main(*asked, "method=lora,full", "plan=true")
    assert code == 0, printed
    flat = re.sub(r"\s+", "", printed)
    assert "mem_gb=12" in flat
    assert "mem_gb=3.0" in flat
    for override, words in {
        "slurm.partition=nowhere": "invalid partition specified: nowhere",
        "slurm.account=nobody": "Invalid account",
        "slurm.cpus_per_task=999": "More processors requested than permitted",
        "slurm.gpus_per_node=9": "Requested node configuration is not available",
        "slurm.mem_gb=900": "Requested node configuration is not available",
        "+slurm.additional_parameters.no-such-option=1": "unrecognized option",
    }.items():
        code, printed = main(*asked, "method=nearest_mean", override)
        assert code == 2, printed
        assert "Slurm refuses" in printed
        assert words in printed
        assert "Traceback" not in printed
    assert not (tmp_path / "runs/mine").exists()


def test_a_detached_study_outlives_its_shell_and_a_requeue_of_its_coordinator(study: Make, cluster: DevCluster) -> None:
    """The command returns; its whole session is killed; the coordinator leaves at a signal, comes back and takes over.

    The study completes, and `status` shows it throughout.
    """
    mine = study(*HELD, "launch.detach=true")
    mine.hold()
    # A shell that would go on, in a session of its own.
    mine.command = ["bash", "-c", f"{shlex.join(mine.command)}; sleep 600"]
    process = mine.start()
    mine.wait_for(lambda: "python -m harness.stop mine" in mine.printed)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    mine.training(runs=1)
    seen = {status(mine)["state"]}
    job = json.loads((mine.study / "coordinator.json").read_text())["job_id"]
    cluster.slurm("scancel", "--batch", "--signal=USR2", job)
    said = mine.study / f"jobs/logs/{job}_0_log.out"
    mine.wait_for(lambda: "are taken over" in said.read_text())
    mine.release()

    def is_done() -> bool:
        seen.add(status(mine)["state"])
        return "done" in seen

    wait_for(is_done, mine.directory, interval=3)
    assert {"running", "done"} <= seen <= {"queued", "running", "done"}, seen
    assert "The coordinator leaves" in said.read_text()
    records = mine.records()
    assert [record["status"] for record in records] == ["ok"] * 2
    assert all(record["provenance"]["slurm"]["restarts"] == 0 for record in records)
    assert (mine.directory / "reports/mine/index.html").exists()


def test_stop_leaves_a_study_that_the_same_command_goes_on_with(study: Make) -> None:
    """Running runs checkpoint, nothing stays in the queue. While jobs are under way no other launcher is let in."""
    mine = study(*HELD)
    mine.hold()
    mine.start()
    mine.training(runs=1)
    mine.kill()
    asked = mine.command
    mine.command = [word for word in asked if word not in PROFILE]
    code, printed = mine.finish()
    assert code == 2, printed
    assert "harness.stop mine" in printed
    assert Jobs(mine.study).open()
    mine.command = asked
    process = mine.start()
    mine.wait_for(lambda: "taken over" in mine.printed)
    stopped = subprocess.run(
        [sys.executable, "-m", "harness.stop", "mine"], cwd=mine.directory, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=STILL_SECONDS, check=False,
    )  # fmt: skip
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    mine.wait_for(lambda: process.poll() is not None)
    assert not mine.jobs()
    assert status(mine)["state"] == "stopped"
    assert any(mine.runs.glob("*/*/checkpoint/*"))
    mine.release()
    code, printed = mine.finish()
    assert code == 0, printed
    assert [record["status"] for record in mine.records()] == ["ok"] * 2


def test_nothing_is_submitted_twice_though_the_answer_is_lost(cluster: DevCluster, tmp_path: Path, cache: Path) -> None:
    """A coordinator that dies between sbatch and the note of the job's id finds the job by its name."""
    launcher = make_launcher(tmp_path)
    run = spec(config(tmp_path, cache, method="nearest_mean"), tmp_path / "study/runs/cell/run", phase="tune")
    launcher.submit(RunBatch((run,)))
    (submission,) = submitted(launcher)
    first = submission.job_id
    submission.job_id, submission.state = None, "intended"
    launcher.jobs.write(submission)

    second = make_launcher(tmp_path)
    (job,) = second.recover()
    outcomes = first_outcomes(second)
    assert outcomes[0].lost is None
    names = cluster.slurm("sacct", "--noheader", "--allocations", "--parsable2", f"--name={submission.name}", "-oJobID")
    assert names.split() == [f"{first}_0"]
    assert job.batch == RunBatch((run,))


def test_a_task_that_was_given_up_is_not_taken_over_again(cluster: DevCluster, tmp_path: Path, cache: Path) -> None:
    """Though its array is still open: its run belongs to the job that replaced it."""
    launcher = make_launcher(tmp_path)
    launcher._slurm.additional_parameters["hold"] = True
    composed = config(tmp_path, cache, method="nearest_mean")
    runs = [spec(composed, tmp_path / f"study/runs/cell/run{number}", phase="tune") for number in range(2)]
    for run in runs:
        launcher.submit(RunBatch((run,)))
    (submission,) = submitted(launcher)
    cluster.slurm("scancel", f"{submission.job_id}_1")
    outcomes = first_outcomes(launcher)
    assert [(outcome.attributed_to, outcome.begun) for outcome in outcomes] == [("place", frozenset())]
    assert outcomes[0].lost  # cancelled, or forgotten by the queue: accounting may lag behind
    launcher.submit(RunBatch((runs[1],)))
    submitted(launcher)
    taken = make_launcher(tmp_path).recover()
    assert sorted(job.batch.runs[0].directory for job in taken) == sorted(run.directory for run in runs)
    assert len(launcher.jobs.open()) == 2


def test_batches_of_one_moment_are_arrays_below_the_cluster_s_limit(
    cluster: DevCluster, tmp_path: Path, cache: Path
) -> None:
    """Five packs under a limit of two tasks an array are three arrays; the cluster's own limit is read from it."""
    launcher = make_launcher(tmp_path)
    assert launcher.cluster.max_array() == 1000  # MaxArraySize=1001 counts the largest index, too
    launcher._submitter._size = 2
    launcher._slurm.additional_parameters["hold"] = True
    composed = config(tmp_path, cache, method="nearest_mean")
    for number in range(5):
        launcher.submit(RunBatch((spec(composed, tmp_path / f"study/runs/cell/run{number}", phase="tune"),)))
    assert [len(submission.batches) for submission in submitted(launcher)] == [2, 2, 1]
    assert launcher.cluster.calls["sbatch"] == 3


def test_a_submit_limit_makes_arrays_smaller_and_is_told_when_it_admits_nothing(
    cluster: DevCluster, tmp_path: Path, cache: Path
) -> None:
    """Five packs go out in parts as there is room; where not one is admitted, Slurm's words end the wait."""
    launcher = make_launcher(tmp_path)
    composed = config(tmp_path, cache, method="nearest_mean")
    try:
        cluster.slurm("sacctmgr", "--immediate", "modify", "user", "root", "set", "MaxSubmitJobs=2")
        for number in range(5):
            launcher.submit(RunBatch((spec(composed, tmp_path / f"study/runs/cell/run{number}", phase="tune"),)))
        ended: set[str] = set()

        def all_ended() -> bool:
            for outcome in launcher.wait(1):
                assert outcome.lost is None
                ended.update(run.directory for run in outcome.runs or ())
            return len(ended) == 5

        wait_for(all_ended, tmp_path)
        cluster.slurm("sacctmgr", "--immediate", "modify", "user", "root", "set", "MaxSubmitJobs=0")
        launcher.submit(RunBatch((spec(composed, tmp_path / "study/runs/cell/run5", phase="tune"),)))
        with pytest.raises(HarnessError, match="accepts no job at all"):
            wait_for(lambda: launcher.wait(1))
    finally:
        cluster.slurm("sacctmgr", "--immediate", "modify", "user", "root", "set", "MaxSubmitJobs=-1")


def test_a_job_with_a_stale_token_writes_nothing(cluster: DevCluster, tmp_path: Path, cache: Path) -> None:
    """Its run was given to another submission before it started."""
    launcher = make_launcher(tmp_path)
    run = spec(config(tmp_path, cache, method="nearest_mean"), tmp_path / "study/runs/cell/run", phase="tune")
    launcher.submit(RunBatch((run,)))
    launcher._slurm.additional_parameters["hold"] = True
    (submission,) = submitted(launcher)
    grant(run.paths.directory, "another")
    cluster.slurm("scontrol", "release", str(submission.job_id))
    wait_for(lambda: str(submission.job_id) not in cluster.slurm("squeue", "--noheader", "--format=%A"), tmp_path)
    assert sorted(path.name for path in run.paths.directory.iterdir()) == ["lease.json"]
    assert not holds(run.paths.directory, submission.token, 0)


def make_launcher(directory: Path) -> SlurmLauncher:
    slurm = SlurmConfig(partition="main", account="dev", cpus_per_task=1, mem_gb=2, poll_s=2, timeout_min=10)
    (directory / "study").mkdir(exist_ok=True)
    return SlurmLauncher(LaunchConfig(kind="slurm"), slurm, directory / "study", ROOT, print)


def first_outcomes(launcher: SlurmLauncher) -> list[Outcome]:
    """Wait until a job ends."""
    outcomes: list[Outcome] = []
    wait_for(lambda: outcomes or outcomes.extend(launcher.wait(1)) or outcomes, launcher.jobs.study)
    return outcomes


def submitted(launcher: SlurmLauncher) -> list[Submission]:
    """Wait until Slurm has taken everything; give the open submissions."""
    launcher.wait(0)
    wait_for(lambda: not launcher.wait(0) and all(each.job_id is not None for each in launcher.jobs.open()))
    return launcher.jobs.open()


def status(study: ClusterStudy) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.status", study.study.name, "--json"], cwd=study.directory, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=STILL_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content: dict[str, object] = json.loads(done.stdout)
    return content
