"""Causes of failed jobs, derived from their state in Slurm."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import PEERS_LOST
from harness.launch.base import Attribution
from harness.launch.slurm.commands import JobState
from harness.launch.slurm.job_states import NOT_THE_RUN, SlurmState

# Pending reasons that never resolve: the request cannot be satisfied, or the job failed to start on some node.
IMPOSSIBLE = re.compile(
    r"BadConstraints|PartitionConfig|DependencyNeverSatisfied|InvalidAccount|InvalidQOS",
    re.IGNORECASE,
)
HELD = re.compile(r"launch.?failed|JobHeldAdmin|requeued.?held", re.IGNORECASE)
MEMORY = re.compile(r"oom.?kill|out.of.memory|exceeded .*memory limit|memory limit .*exceed", re.IGNORECASE)
# What srun says of a task of a step that died, but for those that ended because it did (`harness.training.ranks`).
DIED = re.compile(
    rf"^srun: error: [^:]+: (tasks? [\d,-]+): (?!Terminated|Exited with exit code {PEERS_LOST})([^\n(]+?)"
    r"(?: \(core dumped\))?$",
    re.MULTILINE,
)
# Which node one of these tasks had, where it was one: `srun: error: n2: task 1: Killed`, not `n[1-2]: tasks 0-1: ...`.
DIED_ON = re.compile(
    rf"^srun: error: ([^:,\[\]\s]+): tasks? [\d,-]+: (?!Terminated|Exited with exit code {PEERS_LOST})", re.MULTILINE
)
LAST_WORDS = re.compile(r"^(?:\d+: )?(Rank \d+ of \d+: an exchange failed: .*)$", re.MULTILINE)


@dataclass(frozen=True)
class FailureCause:
    """Why a job ended, and what caused it.

    Attributes:
        reason: predicate of a sentence that begins with `Its job 12_3`.
        attributed_to: as in `Outcome`.
        node: the faulty node; empty if no node is at fault, or if it is unknown which of a job's nodes is.
    """

    reason: str
    attributed_to: Attribution
    node: str = ""


def of_pending_job(state: JobState, minutes: float, limit: float | None) -> FailureCause | None:
    """Return why a pending job should be given up; None if it should be waited for.

    Args:
        state: state of the job.
        minutes: how long it has been pending.
        limit: `slurm.pending_min`.
    """
    impossible, held = IMPOSSIBLE.search(state.reason), HELD.search(state.reason)
    if impossible or held:
        return FailureCause(f"would never have started ({state.reason}) and was cancelled.", "place" if held else "run")
    if limit is not None and minutes >= limit:
        return FailureCause(f"waited {minutes:.1f} min ({state.reason}; slurm.pending_min={limit:g}).", "run")
    return None


def of_loss(
    state: JobState | None, begun: bool, output: str, mem_gb: float | None, together: bool = False
) -> FailureCause:
    """Return why a job ended without finishing its runs.

    Args:
        state: the last state reported by Slurm; None if Slurm no longer knows the job.
        begun: whether the job had started a run.
        output: the end of its output.
        mem_gb: its memory limit.
        together: whether its tasks trained together.
    """
    if state is None:
        return FailureCause("is no longer known to Slurm.", "place")
    where = f" on {state.node}" if state.node else ""
    why = f" ({state.reason})" if state.reason not in ("None", "") else ""
    reason = f"was ended by Slurm{where}: {state.state}{why}"
    if state.state == SlurmState.OUT_OF_MEMORY or MEMORY.search(output):
        return FailureCause(f"{reason}. Memory ran out (slurm.mem_gb={mem_gb}).", "memory")
    if state.state in NOT_THE_RUN:
        return FailureCause(f"{reason}.", "place")
    if begun:
        died = "".join(f" Its {tasks}: {how}." for tasks, how in DIED.findall(output)[:1] if together)
        if together and not died and (words := LAST_WORDS.search(output)):
            died = f" {words[1][:300]}"
        return FailureCause(f"{reason}.{died}", "run")
    # The job never started a run, so the node or the setup commands are at fault.
    lines = [line for line in output.splitlines() if line and not line.startswith("srun: ")]
    last = f" Its last output: {lines[-1][:300]}" if lines else ""
    return FailureCause(f"{reason}, before a run began.{last}", "place", _faulty(state.node, output))


def _faulty(nodes: str, output: str) -> str:
    """Return which of a job's nodes is at fault: the only one, or the one whose tasks died; empty if unknown.

    Args:
        nodes: in Slurm's form, such as `n[1-2,4]`.
        output: the end of the job's output.
    """
    if not re.search(r"[,\[]", nodes):
        return nodes
    died = {*DIED_ON.findall(output)}
    return died.pop() if len(died) == 1 else ""
