"""The configuration that tuning selects for a cell, and the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.records.run_spec import RunSpec
from harness.records.study_files import StudyPaths


@dataclass(frozen=True)
class Lead:
    """How far the best trial leads the documented default on the validation rows.

    Attributes:
        over_default: difference of the metric, oriented so that more is better.
        rows: number of validation rows (of all folds).
        standard_error: of the best trial's score over these rows; None if the metric does not tell it.
    """

    over_default: float
    rows: int
    standard_error: float | None

    @property
    def within_error(self) -> bool:
        """True if the lead is at most one standard error."""
        return self.standard_error is not None and self.over_default <= self.standard_error


@dataclass(frozen=True)
class Selection:
    """The configuration that tuning selected for a cell, and the runs that confirm it.

    Attributes:
        trial, val: the trial's number and its validation metric.
        hyperparameters: the tuned values.
        stop_epoch: the epoch after which the confirmations stop; None leaves `train.stop_epoch` as configured.
        specs: the confirmation runs, one a seed.
        lead: how far the best trial leads the documented default; None if that has no score.
    """

    trial: int
    val: float
    hyperparameters: dict[str, Any]
    stop_epoch: int | None
    specs: tuple[RunSpec, ...]
    lead: Lead | None = None


def write_choices(directory: Path, choices: Mapping[str, Sequence[Selection | None]]) -> None:
    """Write the selections so far; cells of the study that this command does not name keep theirs.

    Args:
        directory: of the study.
        choices: the selection of each tuning of each cell; None where there is none yet.
    """
    StudyPaths(directory).write_choices({cell: _entry([s for s in own if s]) for cell, own in choices.items()})


def _entry(selections: Sequence[Selection]) -> dict[str, Any] | None:
    """Return the entry of a cell: the choice of its first tuning, every run that confirms one, and the replicates."""
    if not selections:
        return None
    runs = [(selection, spec) for selection in selections for spec in selection.specs]
    by_replicate: dict[int, list[tuple[Selection, RunSpec]]] = {}
    for selection, spec in runs:
        by_replicate.setdefault(spec.replicate, []).append((selection, spec))
    found = _choice(selections[0], [spec for _, spec in runs])
    if len(by_replicate) > 1:
        found["replicates"] = [
            {"replicate": label, **_choice(own[0][0], [spec for _, spec in own])} for label, own in by_replicate.items()
        ]
    return found


def _choice(selection: Selection, specs: Sequence[RunSpec]) -> dict[str, Any]:
    return {
        "trial": selection.trial,
        "val": selection.val,
        "hyperparameters": selection.hyperparameters,
        "signatures": [spec.signature for spec in specs],
    } | ({} if selection.lead is None else {"lead": asdict(selection.lead)})
