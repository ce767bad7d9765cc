"""The immutable facts that runs leave: Record, the paths of a run, signatures, atomic writes.

Layout of a study and the keys of a record: docs/files.md. Nothing here imports torch, Optuna or Hydra.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.config import later_keys
from harness.kinds import kind_of, signed

SCHEMA = 1  # of record.json; raised when a key changes its meaning
NUMERICS_VERSION = 2  # raised when training gives other results, so that old records are not taken for new ones
# Likewise, of methods whose results alone have changed since: by kind, or by the path of a class of the user's own.
METHOD_NUMERICS = {"last_layers": 1}  # 1: what does not train no longer drops out

STATUSES = ("running", "ok", "failed", "pruned", "lost")
RESULTS = ("ok", "failed", "pruned")  # the statuses that a run itself ends with
PHASES = ("single", "tune", "confirm")

# What says where and how a run executes, not what it computes. Everything else is part of a run's signature.
OPERATIONAL = (
    "tune", "confirm", "report", "launch", "slurm", "budget", "hardware", "sweep", "axes", "study", "plan", "calibrate",
    "rerun", "keep", "runs_dir", "reports_dir", "cache_dir", "cache_gb", "packages", "device", "method.space",
    "method.resources", "method.about", "model.resources", "tracker", "train.checkpoint_seconds",
    "train.eval_batch_size",
    # The data's fingerprint and the model's digest stand for where they were read from.
    "task.path", "task.validation_path", "task.test_path", "task.folder", "task.files", "task.hub",
    "task.format", "task.encoding", "task.separator", "task.columns", "task.quoting", "task.text", "task.label",
    "task.label_names",
    "model.path", "model.hub", "model.revision", "model.bundled", "model.digests",
    "model.digests_of",
    "model.quantise",
)  # fmt: skip

PAUSED = "paused_at"  # the cost that only a run has which waits at a rung: the amount of the resource
STOP = "stop"  # a file that asks: in a run's directory the run, in a study's its coordinator

# Keys that came after runs had been signed: left out of signatures at these values, which change nothing. Those of the
# schema are declared where they stand (`harness.config.later`); those of a task, a model or a method are added here.
OFF: dict[str, Any] = later_keys()

SHARED = ("train.precision",)  # what changes frozen features, so no method can ignore it


class CorruptRecord(Exception):
    """A record.json that cannot be read: truncated by a full disk, or written by another program."""


@dataclass
class Record:
    """One run, whatever became of it. A missing value is None, never a placeholder number; metrics are fractions.

    Attributes:
        signature: what the run computes (see `signature`).
        status: running | ok | failed | pruned | lost.
        error: why it failed, in one message; None otherwise.
        study, cell: the study's name and the cell's (`task.model.method` and the other axes).
        variant: the values of the other axes, by override key.
        phase: single | tune | confirm.
        trial: number of the trial in the cell's Optuna study; None outside tuning.
        hyperparameters: the tuned values by override key, e.g. `train.lr`.
        metrics: `val` and `test`, each {metric: value}; `test` is empty in tuning.
        cost: seconds by phase, throughput, parameter counts, bytes, memory.
        data: the data set's fingerprint and the facts counted about it.
        provenance: versions, commit, device, threads, model digest.
        started, ended: ISO 8601, UTC.
    """

    signature: str
    status: str
    study: str
    cell: str
    phase: str
    task: str
    model: str
    method: str
    seed: int
    variant: dict[str, Any] = field(default_factory=dict)
    trial: int | None = None
    error: str | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, float | None]] = field(default_factory=lambda: {"val": {}, "test": {}})
    cost: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    started: str | None = None
    ended: str | None = None
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write the record whole or not at all; a reader never sees half of it."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Read a record; None if there is none.

        Raises:
            CorruptRecord: the file is not a whole record.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name for f in fields(cls)}
            return cls(**{key: value for key, value in content.items() if key in known})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptRecord(f"{path} is not a whole record ({error}).") from error


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
        config: the resolved configuration (harness.config.Config as a plain dict).
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
class Pack:
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


def signature(config: Mapping[str, Any], phase: str, fingerprint: str, model_digest: str) -> str:
    """Hash what a run computes: 16 hex digits.

    Args:
        config: the resolved configuration; neither keys in `OPERATIONAL` count nor where a class lies.
        phase: tuning never sees the test split, so a tuning run and a confirmation of one configuration differ.
        fingerprint: of the data.
        model_digest: of the pretrained weights, and of the models that augment (see `models_digest`).
    """
    content = {
        "config": without(signed(config), (*OPERATIONAL, *ignored_keys(config))),
        "phase": phase,
        "data": fingerprint,
        "model": model_digest,
        "numerics_version": NUMERICS_VERSION,
    }
    if (version := METHOD_NUMERICS.get(str(kind_of(config.get("method"))))) is not None:
        content["method_numerics"] = version
    return digest(content)[:16]


def models_digest(model: str, others: Iterable[str]) -> str:
    """One digest of all models that a run reads: the pretrained one's own where there is no other."""
    found = list(others)
    return digest([model, *found]) if found else model


def race_of(task: Any, model: Any, variant: Any) -> str:
    """What the cells share that a joint study tunes together, in whichever order their axes were named."""
    return json.dumps([task, model, variant], sort_keys=True, default=str)


def ignored_keys(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that change nothing in this configuration.

    What is off, and the sections that a method ignores, less what reaches every method through frozen features.
    """
    sections = (config.get("method") or {}).get("ignores") or ()
    keys = [f"{section}.{key}" for section in sections for key in config.get(section) or {}]
    off = [key for key, value in OFF.items() if key in sections or _at(config, key) == value]
    return (*(key for key in keys if key not in SHARED), *off)


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def digest(content: Any) -> str:
    """SHA-256 of JSON-able content, independent of the order of keys: hex."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """The time, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it over `path` if the block succeeds, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; numbers that JSON does not know (NaN, infinities) become null."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(_finite(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def append_jsonl(path: Path, content: Mapping[str, Any]) -> None:
    """Append one JSON line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_finite(content), ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a JSONL file that may still be growing; a torn one is passed over. [] without a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.split("\n")[:-1]:
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def last_changed(path: Path) -> float:
    """When a file last changed, in seconds since the epoch by its file system's clock; 0 without one."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _finite(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content


def without(config: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    """A configuration less some keys, named by their dotted path; a section goes with all that is in it."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if path not in keys:
            kept[key] = without(value, keys, f"{path}.") if isinstance(value, Mapping) else value
    return kept


def published(config: Mapping[str, Any], kept: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration less what says where and how a run executes, which is nobody's business.

    Args:
        config: resolved.
        kept: keys of `OPERATIONAL` that stay.
    """
    found = without(config, tuple(key for key in OPERATIONAL if key not in kept))
    if isinstance(augmentations := found.get("augment"), Mapping):
        # Their folders are part of signatures, so OPERATIONAL does not hold them.
        found["augment"] = {
            name: {key: value for key, value in node.items() if not key.endswith("path")}
            if isinstance(node, Mapping)
            else node
            for name, node in augmentations.items()
        }
    return found
