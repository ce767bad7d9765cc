"""Slurm's job states, and what they mean here. Other states that Slurm reports count as ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SlurmState(StrEnum):
    """The states of jobs that are told apart (squeue's long form), and one of our own."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    COMPLETING = "COMPLETING"
    SUSPENDED = "SUSPENDED"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    SIGNALING = "SIGNALING"
    STAGE_OUT = "STAGE_OUT"
    RESIZING = "RESIZING"
    STOPPED = "STOPPED"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    PREEMPTED = "PREEMPTED"
    REVOKED = "REVOKED"
    ENDED = "ENDED"  # not Slurm's: the job is over, and how it ended is not known


ALIVE: Final = frozenset(
    {
        SlurmState.PENDING, SlurmState.CONFIGURING, SlurmState.RUNNING, SlurmState.COMPLETING, SlurmState.SUSPENDED,
        SlurmState.REQUEUED, SlurmState.REQUEUE_FED, SlurmState.SIGNALING, SlurmState.STAGE_OUT, SlurmState.RESIZING,
        SlurmState.STOPPED,
    }
)  # fmt: skip
# Transient states of a job that is being requeued, for some seconds; they count only when seen twice in a row.
PASSING: Final = frozenset(
    {SlurmState.NODE_FAIL, SlurmState.PREEMPTED, SlurmState.REQUEUE_HOLD, SlurmState.SPECIAL_EXIT}
)
# States of a task that has not started, or not restarted.
WAITING: Final = frozenset(
    {
        SlurmState.PENDING, SlurmState.REQUEUED, SlurmState.REQUEUE_FED, SlurmState.REQUEUE_HOLD, SlurmState.PREEMPTED,
        SlurmState.CONFIGURING,
    }
)  # fmt: skip
# States of a task that a status view takes for ended.
ENDED: Final = frozenset(
    {
        SlurmState.COMPLETED, SlurmState.FAILED, SlurmState.CANCELLED, SlurmState.TIMEOUT, SlurmState.NODE_FAIL,
        SlurmState.OUT_OF_MEMORY, SlurmState.BOOT_FAIL, SlurmState.DEADLINE, SlurmState.ENDED,
    }
)  # fmt: skip
# States that a node, the queue or a person causes, so the run is not at fault.
NOT_THE_RUN: Final = frozenset(
    {
        SlurmState.NODE_FAIL, SlurmState.PREEMPTED, SlurmState.BOOT_FAIL, SlurmState.CANCELLED, SlurmState.REVOKED,
        SlurmState.REQUEUE_HOLD,
    }
)  # fmt: skip
