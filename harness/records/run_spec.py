"""The specification of a run, and of a batch of runs."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.records.record import PAUSED, CorruptRecord, Record
from harness.records.states import RESULTS, RunStatus
from harness.records.study_files import RUNS, RunPaths


@dataclass(frozen=True)
class RunSpec:
    """All that a worker needs to execute one run. Serializable as JSON, so that every launcher can send it.

    Attributes:
        directory: the run's own directory.
        config: the resolved configuration (harness.config.schema.Config as a plain dict).
        study, cell, variant, phase, trial, hyperparameters: as in `Record`.
        signature: as in `Record`.
        save_model: whether the adapted model is saved.
        rungs: amounts of `resource` at which the run is evaluated. Not part of the signature; neither is `until`.
        resource: epochs | steps | examples.
        until: the rung at which the run writes a checkpoint and pauses; None: train to the end.
        replicate: as in `Record`. Not part of the signature.
    """

    directory: str
    config: dict[str, Any]
    signature: str
    study: str
    cell: str
    phase: str
    variant: dict[str, Any] = field(default_factory=dict)
    trial: int | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    save_model: bool = False
    rungs: tuple[int, ...] = ()
    resource: str = "epochs"
    until: int | None = None
    replicate: int = 0

    def __post_init__(self) -> None:
        """Convert rungs, which JSON reads as a list, to a tuple."""
        object.__setattr__(self, "rungs", tuple(self.rungs))

    @property
    def paths(self) -> RunPaths:
        """The run's paths."""
        return RunPaths(Path(self.directory))

    def result(self) -> Record | None:
        """Return the run's own record if it has ended or is paused at `until`, else None."""
        with suppress(CorruptRecord, OSError):
            record = Record.read(self.paths.record)
            if record is not None and record.signature == self.signature:
                waits = self.until is not None and (record.cost.get(PAUSED) or 0) >= self.until
                return record if waits or record.status in RESULTS else None
        return None

    def new_record(self, status: RunStatus, error: str | None = None) -> Record:
        """Create a record of what is known before the run starts."""
        return Record(
            signature=self.signature, status=status, error=error, study=self.study, cell=self.cell, phase=self.phase,
            task=str(self.config["task"]["name"]), model=self.config["model"]["name"], seed=self.config["seed"],
            method=self.config["method"]["name"], variant=self.variant, trial=self.trial,
            hyperparameters=self.hyperparameters, replicate=self.replicate,
        )  # fmt: skip


@dataclass(frozen=True)
class RunBatch:
    """Runs to be executed in one process, which may be warm.

    Attributes:
        runs: the runs, in starting order.
        together: number of concurrent runs; those of them that can be fused share passes through one frozen backbone.
        probe: whether shared passes are used only after a speed check (see `SpeedCheck`).
        co_located: number of concurrent batches that share the memory of its GPU or of the host, this batch included.
    """

    runs: tuple[RunSpec, ...]
    together: int = 1
    probe: bool = False
    co_located: int = 1


def study_argument(directory: Path) -> str:
    """Return the shell-quoted argument that names a study: its name if in the default directory, else its path."""
    return shlex.quote(directory.name if directory.parent == Path(RUNS) else str(directory))
