"""A task of a Slurm step learns its place among those that train with it from Slurm's variables."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.launch.slurm.commands import JobState
from harness.launch.slurm.failure_causes import of_loss
from harness.launch.step_ranks import PORTS, StepRanks


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
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(HarnessError, match="gives the job 1 GPUs for 2 processes"):
        found.join(lambda: False, 1)


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
