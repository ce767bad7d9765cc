"""A task of a Slurm step learns its place among those that train with it from Slurm's variables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.launch.slurm.commands import JobState
from harness.launch.slurm.failure_causes import of_loss
from harness.launch.step_ranks import PORTS, StepRanks, check_apart


def test_a_place_in_a_step_follows_from_slurms_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tasks on two nodes; a task that is alone joins nobody; a job that starts again takes another port."""
    assert StepRanks.of_environment().join(lambda: False, 1)
    place = {"PROCID": 3, "STEP_NUM_TASKS": 4, "LOCALID": 1, "STEP_NUM_NODES": 2, "JOB_ID": 70000}
    for name, value in place.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7")
    found = StepRanks.of_environment()
    assert (found.rank, found.size, found.local, found.here, found.address) == (3, 4, 1, 2, "10.0.0.7")
    assert found.named == "Rank 3 of 4: "
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = StepRanks.of_environment().port
    assert {found.port, again} <= {*PORTS} and found.port != again


def test_each_task_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its node's, or the one that Slurm has bound to it; too few are told, unless none is used."""
    task = StepRanks(rank=3, size=4, local=1, here=2, address="10.0.0.7", port=20000)
    for visible, device, gpu in (("4,5", "auto", "5"), ("4,5", "cpu", None), ("", "auto", None), ("0", "auto", "0")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert task.own_gpu(device) == gpu, visible
    assert replace(task, here=1).own_gpu("auto") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with pytest.raises(HarnessError, match="gives the job 2 GPUs for 3 processes"):
        replace(task, here=3).own_gpu("cuda")
    check_apart([(1, 7), (1, 8), (2, 7), (2, 8)])
    check_apart([(1, 0), (1, 0)])
    with pytest.raises(HarnessError, match="gives the job 1 GPU for 2 processes"):
        check_apart([(1, 7), (1, 8), (2, 7), (2, 7)])


def test_a_loss_names_the_task_that_died() -> None:
    """Not those that were ended for it."""
    said = (
        "srun: error: node1: task 0: Exited with exit code 75\n"
        "srun: error: node2: task 1: Killed\n"
        "srun: Terminating StepId=7.0\n"
        "slurmstepd: error: *** STEP 7.0 ON node1 CANCELLED AT 2026-11-30T12:00:00 ***\n"
    )
    state = JobState("FAILED", "NonZeroExitCode", "node1", "")
    cause = of_loss(state, True, said, None, together=True)
    assert cause.reason.endswith("Its task 1: Killed.") and cause.attributed_to == "run"
    assert "Killed" not in of_loss(state, True, said, None).reason  # a job of one task
    several = said.replace("task 1", "tasks 1,3-5")
    assert of_loss(state, True, several, None, together=True).reason.endswith("Its tasks 1,3-5: Killed.")
    lost = (
        "Rank 1 of 2: an exchange failed: RuntimeError: no route\nsrun: error: n1: tasks 0-1: Exited with exit code 75"
    )
    found = of_loss(state, True, lost, None, together=True).reason
    assert found.endswith("Rank 1 of 2: an exchange failed: RuntimeError: no route")


def test_of_several_nodes_the_one_whose_tasks_died_is_at_fault() -> None:
    """None, where several died or srun names no node; a job of one node names its own."""
    killed = "srun: error: n2: task 1: Killed"
    for nodes, output, node in (
        ("n[1-2]", f"srun: error: n1: task 0: Exited with exit code 75\n{killed}\n", "n2"),
        ("n1,n2", "srun: error: n2: tasks 2-3: Exited with exit code 1\n", "n2"),
        ("n[1-2]", f"{killed}\nsrun: error: n1: task 0: Killed\n", ""),
        ("n[1-2]", "srun: error: n[1-2]: tasks 0-1: Exited with exit code 1\n", ""),
        ("n[1-2]", "", ""),
        ("n1", "", "n1"),
    ):
        cause = of_loss(JobState("job", "FAILED", "NonZeroExitCode", nodes), False, output, None)
        assert (cause.node, cause.attributed_to) == (node, "place"), (nodes, output)
