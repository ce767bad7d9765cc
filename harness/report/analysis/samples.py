"""What the statistics of a comparison group get: scores of its cells, and which runs and rows belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.failures import Scores, counted
from harness.report.cells.settings import Settings
from harness.report.reading.predictions import Predictions
from harness.report.reading.study import Study

SEED, TUNING, DRAW = "seed", "tuning", "draw"  # what `confirm.vary` names


@dataclass(frozen=True)
class Samples:
    """Scores of K cells on the same n test rows.

    Attributes:
        rows: the cells.
        scores: K arrays (S_k, n), by replicate and seed, failed runs counted as `Settings.failed_as` says.
        replicates: K sequences (S_k,) with the replicate of each run; None if every cell has one.
        paired: whether replicates are draws of training rows that the cells share.
        groups: (n,) the group of each test row; None if rows are independent.
    """

    rows: tuple[CellSummary, ...]
    scores: list[Scores]
    replicates: list[list[int]] | None
    paired: bool
    groups: npt.NDArray[Any] | None

    @property
    def structure(self) -> dict[str, Any]:
        """The arguments of `compare`, `sequential`, `choose` and `needed` that say what belongs together."""
        return {"replicates": self.replicates, "paired": self.paired, "groups": self.groups}


def samples(
    rows: Sequence[CellSummary], predictions: Mapping[int, Predictions], study: Study, settings: Settings
) -> Samples:
    """Collect the scores of cells that met the same test rows.

    Args:
        rows: the cells.
        predictions: of each, by `id()`.
        study: its `confirm` section says what the replicates vary.
        settings: how failed runs count.
    """
    found = [counted(row, predictions[id(row)], settings.failed_as) for row in rows]
    replicates = [labels for _, labels in found]
    several = any(len(set(labels)) > 1 for labels in replicates)
    return Samples(
        rows=tuple(rows),
        scores=[scores for scores, _ in found],
        replicates=replicates if several else None,
        paired=several and DRAW in varied(study),
        groups=predictions[id(rows[0])].groups if rows else None,
    )


def varied(study: Study) -> tuple[str, ...]:
    """Return what the confirmations of a study vary, of `seed`, `tuning` and `draw`; earlier studies vary the seed."""
    confirm = study.sweep.get("confirm")
    known = confirm.get("vary") if isinstance(confirm, Mapping) else None
    names = [known] if isinstance(known, str) else known if isinstance(known, Sequence) else [SEED]
    return tuple(str(name) for name in names)
