"""The tasks of one srun step as ranks that train runs together (`launch.devices_per_run`)."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.formatting.values import plural
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

    def own_gpu(self, device: str) -> str | None:
        """Return the GPU of this task, as CUDA_VISIBLE_DEVICES names it; None where there is none to choose.

        Where a task sees one GPU, Slurm may have bound one to each, or all may see the same: `check_apart` tells.

        Args:
            device: auto | cpu | cuda.

        Raises:
            HarnessError: the node has too few GPUs.
        """
        gpus = () if device == "cpu" else visible_gpus()
        if len(gpus) <= 1:
            return gpus[0] if gpus and self.here > 1 else None
        if len(gpus) < self.here:
            raise _too_few(len(gpus), self.here)
        return gpus[self.local]

    def join(self, interrupted: Callable[[], bool], threads: int, device: str = "auto", key: str = "") -> bool:
        """Join the other ranks; return True for rank 0, and otherwise False, after it has dismissed this one.

        Args:
            interrupted: checked after every step.
            threads: CPU threads.
            device: auto | cpu | cuda.
            key: of these ranks, see `harness.training.ranks.join`.

        Raises:
            HarnessError: the node has too few GPUs, or the ranks do not meet.
        """
        if self.size == 1:
            return True
        if (gpu := self.own_gpu(device)) is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch looks for GPUs
        place = {
            "RANK": self.rank, "LOCAL_RANK": self.local, "WORLD_SIZE": self.size, "MASTER_ADDR": self.address,
            "MASTER_PORT": self.port,
        }  # fmt: skip
        os.environ.update({name: str(value) for name, value in place.items()})
        from harness.runs.execute import follow
        from harness.training.ranks import current, join, leave

        use_threads(threads)
        join(f"{key}/{os.environ.get('SLURM_ARRAY_TASK_ID', '')}")
        with current().telling():
            mine = 0.0 if gpu is None else _number(_identity(gpu))
        check_apart(current().exchange(_number(socket.gethostname()), mine))
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


def check_apart(places: Sequence[Sequence[float]]) -> None:
    """Refuse ranks that share a GPU.

    Args:
        places: of each rank, (number of its node, number of its GPU, 0 without one).

    Raises:
        HarnessError: two ranks of a node have the same.
    """
    with_gpu = [tuple(place) for place in places if place[1]]
    if len({*with_gpu}) < len(with_gpu):
        shared = max(with_gpu, key=with_gpu.count)
        node = [place for place in with_gpu if place[0] == shared[0]]
        raise _too_few(len({*node}), len(node))


def _too_few(gpus: int, processes: int) -> HarnessError:
    return HarnessError(
        f"A node gives the job {plural(gpus, 'GPU')} for {processes} processes. Let the job ask for {processes} GPUs "
        "of a node (slurm.gpus_per_node, or slurm.gres where that names GPUs), raise slurm.nodes_per_run, or set "
        "device=cpu."
    )


def _identity(gpu: str) -> str:
    """Return what tells a GPU from the others of its node: its UUID. Its index may be that among the task's own."""
    if not gpu.isdigit():
        return gpu  # GPU-<uuid>, MIG-<uuid>
    import torch

    return str(torch.cuda.get_device_properties(0).uuid) if torch.cuda.is_available() else ""


def _number(text: str) -> float:
    """Return a number that stands for a text; 0 for none."""
    return float(zlib.crc32(text.encode()))
