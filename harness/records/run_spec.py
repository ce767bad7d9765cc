"""What one run is asked to do, and where its files are."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.records.record import PAUSED, RESULTS, CorruptRecord, Record

STOP = "stop"  # a file that asks: in a run's directory the run, in a study's its coordinator


@dataclass(frozen=True)
class RunPaths:
    """All paths of one run."""

    directory: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.directory / "config.yaml"

    @property
    def record(self) -> Path:
        """The run's record."""
        return self.directory / "record.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, a line an epoch."""
        return self.directory / "metrics.jsonl"

    @property
    def predictions(self) -> Path:
        """Per-example predictions on validation and test data."""
        return self.directory / "predictions.parquet"

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.directory / "log.txt"

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted run goes on from; removed when the run ends."""
        return self.directory / "checkpoint"

    @property
    def model(self) -> Path:
        """The adapted model, loadable with `harness.predict.load`."""
        return self.directory / "model"

    @property
    def stop(self) -> Path:
        """A file that asks the run to stop: it holds `checkpoint` (go on later) or `prune`."""
        return self.directory / STOP

    def ask(self, what: str) -> None:
        """Write the stop file: `checkpoint` or `prune`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stop.write_text(what, encoding="utf-8")

    @property
    def failures(self) -> Path:
        """One JSON object a line: each time the run's worker was lost while a coordinator watched."""
        return self.directory / "failures.jsonl"


@dataclass(frozen=True)
class RunSpec:
    """What a worker needs to execute one run. JSON-able, so that every launcher can hand it over.

    Attributes:
        directory: the run's own directory.
        config: the resolved configuration (harness.config.schema.Config as a plain dict).
        study, cell, variant, phase, trial, hyperparameters: as in `Record`.
        signature: as in `Record`.
        save_model: whether the adapted model is written.
        rungs: amounts of `resource` at which the run is judged on the way. Like `until`, no part of what it computes.
        resource: epochs | steps | examples.
        until: the rung at which the run writes a checkpoint and waits; None goes to its end.
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

    def __post_init__(self) -> None:
        """Rungs read from JSON are a list."""
        object.__setattr__(self, "rungs", tuple(self.rungs))

    @property
    def paths(self) -> RunPaths:
        """The run's paths."""
        return RunPaths(Path(self.directory))

    def result(self) -> Record | None:
        """The run's own record once what was asked is done: it has ended, or waits at `until`. Else None."""
        with suppress(CorruptRecord, OSError):
            record = Record.read(self.paths.record)
            if record is not None and record.signature == self.signature:
                waits = self.until is not None and (record.cost.get(PAUSED) or 0) >= self.until
                return record if waits or record.status in RESULTS else None
        return None

    def new_record(self, status: str, error: str | None = None) -> Record:
        """Begin a record with what is known before the run starts."""
        return Record(
            signature=self.signature, status=status, error=error, study=self.study, cell=self.cell, phase=self.phase,
            task=str(self.config["task"]["name"]), model=self.config["model"]["name"], seed=self.config["seed"],
            method=self.config["method"]["name"], variant=self.variant, trial=self.trial,
            hyperparameters=self.hyperparameters,
        )  # fmt: skip


@dataclass(frozen=True)
class RunBatch:
    """Runs executed in one process, on whatever that has warm.

    Attributes:
        runs: in the order in which they start.
        together: how many are under way at a time; those that can then share passes through one frozen backbone.
        probe: whether that has to show first that it is faster.
        neighbours: how many packs at once share the memory that this one computes in, itself included.
    """

    runs: tuple[RunSpec, ...]
    together: int = 1
    probe: bool = False
    neighbours: int = 1


def study_argument(directory: Path) -> str:
    """How a command line names a study: by its name where it lies in the default directory, else by its path."""
    return shlex.quote(directory.name if directory.parent == Path("runs") else str(directory))
