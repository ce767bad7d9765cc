"""The tasks of one srun step as ranks that train runs together (`launch.devices_per_run`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.launch.base import use_threads
from harness.launch.devices import visible_gpus

PORTS = range(20000, 32000)  # below those that systems give to outgoing connections


@dataclass(frozen=True)
class StepRanks:
    """This task's place in its step.

    Attributes:
        rank, size: of the step.
        local: rank among the tasks of this node.
        here: number of tasks of this node.
        address, port: where rank 0 listens.
    """

    rank: int
    size: int
    local: int
    here: int
    address: str
    port: int

    @classmethod
    def of_environment(cls) -> StepRanks:
        """Read Slurm's variables of the step. A job of one task has one rank."""
        number = {
            name: int(os.environ.get(f"SLURM_{name}", default))
            for name, default in (
                ("PROCID", "0"), ("STEP_NUM_TASKS", "1"), ("LOCALID", "0"), ("STEP_NUM_NODES", "1"), ("JOB_ID", "0"),
                ("RESTART_COUNT", "0"),
            )
        }  # fmt: skip
        # Of all tasks of a cluster that share a node, each has a job id of its own; a job that starts again takes
        # another port, in case something else has taken this one.
        port = PORTS[(number["JOB_ID"] + 997 * number["RESTART_COUNT"]) % len(PORTS)]
        return cls(
            number["PROCID"], number["STEP_NUM_TASKS"], number["LOCALID"],
            number["STEP_NUM_TASKS"] // number["STEP_NUM_NODES"],
            os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"), port,
        )  # fmt: skip

    @property
    def named(self) -> str:
        """How messages begin: empty for a single rank."""
        return f"Rank {self.rank} of {self.size}: " if self.size > 1 else ""

    def join(self, interrupted: Callable[[], bool], threads: int, key: str = "") -> bool:
        """Join the other ranks; return True for rank 0, and otherwise False, after it has dismissed this one.

        Args:
            interrupted: checked after every step.
            threads: CPU threads.
            key: of these ranks, see `harness.training.ranks.join`.

        Raises:
            HarnessError: the node has too few GPUs, or the ranks do not meet.
        """
        if self.size == 1:
            return True
        gpus = visible_gpus()
        if len(gpus) > 1 or (gpus and self.here > 1):
            # Before torch looks for GPUs. Where Slurm has bound one to each task, that is the one.
            bound = len(gpus) == 1 and "SLURM_GPUS_PER_TASK" in os.environ
            if not bound and len(gpus) < self.here:
                raise HarnessError(
                    f"This node gives the job {len(gpus)} GPUs for {self.here} processes: set slurm.gpus_per_node="
                    f"{self.here}, or raise slurm.nodes_per_run."
                )
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[0 if bound else self.local]
        place = {
            "RANK": self.rank, "LOCAL_RANK": self.local, "WORLD_SIZE": self.size, "MASTER_ADDR": self.address,
            "MASTER_PORT": self.port,
        }  # fmt: skip
        os.environ.update({name: str(value) for name, value in place.items()})
        from harness.runs.execute import follow
        from harness.training.ranks import join, leave

        use_threads(threads)
        join(f"{key}/{os.environ.get('SLURM_ARRAY_TASK_ID', '')}")
        if self.rank == 0:
            return True
        follow(interrupted)
        leave()
        return False

    def dismiss(self) -> None:
        """Let the other ranks end."""
        if self.size > 1:
            from harness.runs.execute import dismiss
            from harness.training.ranks import leave

            dismiss()
            leave()
