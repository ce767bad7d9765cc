"""`Record`: the immutable facts about a run.

docs/files.md describes the files of a study and the keys of a record. Does not import torch, Optuna or Hydra.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.api.cost import renamed
from harness.errors import HarnessError
from harness.records.files import write_json
from harness.records.states import Phase, RunStatus

SCHEMA = 1  # of record.json; increased when the meaning of a key changes

PHASES = tuple(Phase)

PAUSED = "paused_at"  # cost key of runs that are paused at a rung: the amount of the resource


class CorruptRecord(HarnessError):
    """A record.json that cannot be read: truncated by a full disk, or written by another program."""


class UnreadableRecord(CorruptRecord):
    """A record.json that may be whole, but cannot be opened: no permission, or a folder in its place."""


_TYPES: dict[str, Any] = {  # of a record's fields, where code that reads them relies on it
    "signature": str, "status": str, "study": str, "cell": str, "phase": str, "task": str, "model": str, "method": str,
    "variant": dict, "hyperparameters": dict, "metrics": dict, "cost": dict, "data": dict, "provenance": dict,
}  # fmt: skip


@dataclass
class Record:
    """One run and its outcome. A missing value is None, never a placeholder number; metrics are fractions.

    Attributes:
        signature: hash of what the run computes (see `signature`).
        status: how far it is, or how it ended.
        error: why it failed, as one message; None otherwise.
        study, cell: names of the study and of the cell (`task.model.method` and the values of the other axes).
        variant: values of the other axes, by override key.
        phase: single | tune | rerank | confirm.
        trial: number of the trial in the cell's Optuna study; None for other runs than those of tune and rerank.
        hyperparameters: tuned values by override key, e.g. `train.lr`.
        replicate: label of the tuning run or draw that it belongs to (`confirm.vary`); 0 where only the seed varies.
        metrics: `val` and `test`, each {metric: value}; `test` is empty for tuning runs.
        cost: seconds by phase, throughput, parameter counts, bytes, memory.
        data: fingerprint of the data set and counted facts about it.
        provenance: versions, commit, device, threads, model digest.
        started, ended: ISO 8601, UTC.
    """

    signature: str
    status: RunStatus
    study: str
    cell: str
    phase: Phase
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
    replicate: int = 0
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write the record atomically: a reader never sees a part of it."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Read a record; None if there is none.

        Raises:
            CorruptRecord: the file is not a complete record.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name for f in fields(cls)}
            record = cls(**{key: value for key, value in content.items() if key in known})
            _check_types(record)
            record.cost = renamed(record.cost)
            return record  # noqa: TRY300
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableRecord(f"{path} cannot be read ({error.strerror or error}).") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptRecord(f"{path} is not a complete record ({error}).") from error


def _check_types(record: Record) -> None:
    """Raise ValueError if a field holds another type than code that reads records relies on."""
    wrong = [name for name, kind in _TYPES.items() if not isinstance(getattr(record, name), kind)]
    if not wrong and not all(isinstance(values, dict) for values in record.metrics.values()):
        wrong = ["metrics"]
    if wrong:
        raise ValueError(f"of another type: {', '.join(wrong)}")


def metric_of(record: Record, split: str, name: str) -> float | None:
    """Return a metric of a record; None if it has none."""
    return number(record.metrics.get(split, {}).get(name))


def number(value: Any) -> float | None:
    """Return a finite number as a float, anything else as None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    with suppress(OverflowError):  # an integer too large for a float
        return float(value) if math.isfinite(value) else None
    return None
