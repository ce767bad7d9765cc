"""The states of runs, cells and studies. What is written into files are the values; they must not change."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal


class RunStatus(StrEnum):
    """The status of a run, in its record."""

    RUNNING = "running"  # also: paused at a rung, or interrupted
    OK = "ok"
    FAILED = "failed"
    PRUNED = "pruned"
    LOST = "lost"  # its worker died more often than is allowed


FINISHED: Final = frozenset({RunStatus.OK, RunStatus.FAILED, RunStatus.PRUNED, RunStatus.LOST})
RESULTS: Final = FINISHED - {RunStatus.LOST}  # the statuses that a run itself can end with
FAILURES: Final = frozenset({RunStatus.FAILED, RunStatus.LOST})


class StopRequest(StrEnum):
    """How a run is asked to end. The content of its stop file, but for `TAKEN`."""

    CHECKPOINT = "checkpoint"  # it writes a checkpoint and continues later
    PRUNE = "prune"
    TAKEN = "taken"  # another process has taken the run over; never written


class Unfinished(StrEnum):
    """What a run does whose record says `running`, or that has none."""

    RUNNING = "running"
    QUEUED = "queued"  # in a job that has not started
    PAUSED = "paused"  # at a rung, until the promotion decision
    INTERRUPTED = "interrupted"  # no process executes it


class CellState(StrEnum):
    """How far a cell of a study is."""

    WAITING = "waiting"
    TUNING = "tuning"
    CONFIRMING = "confirming"
    DONE = "done"
    FAILED = "failed"  # it was given up


class StudyState(StrEnum):
    """Whether a study goes on."""

    RUNNING = "running"
    QUEUED = "queued"  # its coordinator waits in a queue
    DONE = "done"
    STOPPED = "stopped"


class StudyEnd(StrEnum):
    """Why a study's coordinator ended, in outcome.json."""

    DONE = "done"
    BUDGET = "budget"
    INTERRUPTED = "interrupted"


# The status of a training session. paused: at its limit; stopped: it wrote a checkpoint to continue later; taken: over
# by another process.
SessionStatus = Literal["going", "done", "failed", "pruned", "paused", "stopped", "taken"]
