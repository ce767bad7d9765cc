"""What tuning chose for a cell, and where a study keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records.files import write_json
from harness.records.run_spec import RunSpec

CHOICES = "choices.json"  # per cell, the configuration that tuning chose and the runs that confirm it


@dataclass(frozen=True)
class Selection:
    """The configuration that tuning chose for a cell, and the runs that confirm it.

    Attributes:
        trial, val: the trial and its validation metric.
        hyperparameters: the tuned values.
        stop_epoch: after which the confirmations stop; None leaves that to them.
        specs: a run a seed.
    """

    trial: int
    val: float
    hyperparameters: dict[str, Any]
    stop_epoch: int | None
    specs: tuple[RunSpec, ...]


def write_choices(directory: Path, choices: Mapping[str, Selection | None]) -> None:
    """Write what is chosen so far; cells of the study that this command does not name keep theirs.

    Args:
        directory: of the study.
        choices: by cell.
    """
    path = directory / CHOICES
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = {}
    kept = {cell: each for cell, each in earlier.items() if cell not in choices} if isinstance(earlier, dict) else {}
    chosen = {
        cell: {
            "trial": choice.trial,
            "val": choice.val,
            "hyperparameters": choice.hyperparameters,
            "signatures": [spec.signature for spec in choice.specs],
        }
        for cell, choice in choices.items()
        if choice is not None
    }
    write_json(path, kept | chosen)
