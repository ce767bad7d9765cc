"""What the state of a job that did not finish its runs says about them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.launch.slurm.commands import JobState

# Why a job waits although waiting changes nothing: what it asks for cannot be had, or it failed to start somewhere.
IMPOSSIBLE = re.compile(
    r"BadConstraints|PartitionConfig|DependencyNeverSatisfied|InvalidAccount|InvalidQOS",
    re.IGNORECASE,
)
HELD = re.compile(r"launch.?failed|JobHeldAdmin|requeued.?held", re.IGNORECASE)
MEMORY = re.compile(r"oom.?kill|out.of.memory|exceeded .*memory limit|memory limit .*exceed", re.IGNORECASE)
# Ended by a node, the queue or a person.
ELSEWHERE = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "CANCELLED", "REVOKED", "REQUEUE_HOLD")


@dataclass(frozen=True)
class FailureCause:
    """Why a job is over, and what that says.

    Attributes:
        reason: what becomes of a sentence that begins `Its job 12_3`.
        blame: as in `Outcome`.
        node: the node that is at fault; empty if none is.
    """

    reason: str
    blame: str
    node: str = ""


def of_waiting(state: JobState, minutes: float, limit: float | None) -> FailureCause | None:
    """Whether a job is worth waiting for: None if it is.

    Args:
        state: of the job.
        minutes: it has waited.
        limit: `slurm.pending_min`.
    """
    impossible, held = IMPOSSIBLE.search(state.reason), HELD.search(state.reason)
    if impossible or held:
        return FailureCause(
            f"would have waited for ever ({state.reason}) and was cancelled.", "place" if held else "run"
        )
    if limit is not None and minutes >= limit:
        return FailureCause(f"waited {minutes:.1f} min ({state.reason}; slurm.pending_min={limit:g}).", "run")
    return None


def of_loss(state: JobState | None, begun: bool, output: str, mem_gb: float | None) -> FailureCause:
    """Why a job ended without finishing its runs.

    Args:
        state: what Slurm last said; None if it knows the job no more.
        begun: whether the job came as far as a run.
        output: the end of what it printed.
        mem_gb: the memory that it had.
    """
    if state is None:
        return FailureCause("is no longer known to Slurm.", "place")
    where = f" on {state.node}" if state.node else ""
    why = f" ({state.reason})" if state.reason not in ("None", "") else ""
    reason = f"was ended by Slurm{where}: {state.state}{why}"
    if state.state == "OUT_OF_MEMORY" or MEMORY.search(output):
        return FailureCause(f"{reason}. Memory ran out (slurm.mem_gb={mem_gb}).", "memory")
    if state.state in ELSEWHERE:
        return FailureCause(f"{reason}.", "place")
    if begun:
        return FailureCause(f"{reason}.", "run")
    # It never came as far as a run, so the node or the set-up commands are at fault.
    lines = [line for line in output.splitlines() if line and not line.startswith("srun: ")]
    last = f" Its last words: {lines[-1][:300]}" if lines else ""
    return FailureCause(f"{reason}, before a run began.{last}", "place", state.node)
