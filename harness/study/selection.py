"""The configuration that tuning selects for a cell, and the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records.run_spec import RunSpec
from harness.records.study_files import StudyPaths


@dataclass(frozen=True)
class Selection:
    """The configuration that tuning selected for a cell, and the runs that confirm it.

    Attributes:
        trial, val: the trial's number and its validation metric.
        hyperparameters: the tuned values.
        stop_epoch: the epoch after which the confirmations stop; None leaves `train.stop_epoch` as configured.
        specs: the confirmation runs, one a seed.
    """

    trial: int
    val: float
    hyperparameters: dict[str, Any]
    stop_epoch: int | None
    specs: tuple[RunSpec, ...]


def write_choices(directory: Path, choices: Mapping[str, Selection | None]) -> None:
    """Write the selections so far; cells of the study that this command does not name keep theirs.

    Args:
        directory: of the study.
        choices: the selection of each cell; None if there is none yet.
    """
    chosen = {
        cell: None
        if choice is None
        else {
            "trial": choice.trial,
            "val": choice.val,
            "hyperparameters": choice.hyperparameters,
            "signatures": [spec.signature for spec in choice.specs],
        }
        for cell, choice in choices.items()
    }
    StudyPaths(directory).write_choices(chosen)
