"""The states of runs, cells and studies. What is written into files are the values; they must not change."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """What a run is for, in its record and its job."""

    SINGLE = "single"  # one run from the command line
    TUNE = "tune"
    RERANK = "rerank"  # the best trials at fresh seeds (tune.select=rerank)
    CONFIRM = "confirm"


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
    """How a run is asked to end. The content of its stop file, but for `PAUSE` and `TAKEN`, which are never written."""

    CHECKPOINT = "checkpoint"  # it writes a checkpoint and continues later
    PRUNE = "prune"
    PAUSE = "pause"  # at a rung
    TAKEN = "taken"  # another process has taken the run over


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


class CellOutcome(StrEnum):
    """What a report can say of a cell."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    OK = "ok"
    PARTIAL = "partial"  # some of the confirmations that are wanted have no test score
    FAILED = "failed"


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


class SessionStatus(StrEnum):
    """The status of a training session."""

    GOING = "going"
    DONE = "done"
    FAILED = "failed"
    PRUNED = "pruned"
    PAUSED = "paused"  # at its limit
    STOPPED = "stopped"  # it wrote a checkpoint to continue later
    TAKEN = "taken"  # over by another process
