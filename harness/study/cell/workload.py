"""How many runs of a cell may start, and how many are left."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.study.cell.confirmation import Confirmation
from harness.study.cell.failures import CellFailures
from harness.study.cell.run_queue import RunQueue
from harness.study.cell.tuning import CellTuning


class CellWorkload:
    """Counts the runs of a cell that are still to start.

    Args:
        runs: those under way, and those queued to continue.
        tuning, confirmation: the two phases of the cell.
        failures: of the cell.
        cell: the cell's id.
        sharing: ids of the cells that share the tuning budget with this one, itself included.
    """

    def __init__(
        self,
        runs: RunQueue,
        tuning: CellTuning,
        confirmation: Confirmation,
        failures: CellFailures,
        cell: str,
        sharing: Sequence[str],
    ) -> None:
        self._runs, self._tuning, self._confirmation, self._failures = runs, tuning, confirmation, failures
        self._cell, self._sharing = cell, tuple(sharing)

    @property
    def possible_cells(self) -> tuple[str, ...]:
        """Ids of the cells to which a new run may belong, this one included (several in a joint study)."""
        return (self._cell,) if self._tuning.over else self._sharing

    @property
    def startable_now(self) -> int:
        """Estimated number of runs that could start now, whatever the results of others."""
        new = self.unconfirmed if self._tuning.over else self._tuning.trials.quota.startable_now
        return len(self._runs.waiting) + new

    @property
    def startable_without_feedback(self) -> int:
        """Number of runs that could start now without the sampler missing the results of earlier ones."""
        new = self.unconfirmed if self._tuning.over else self._tuning.trials.quota.startable_without_feedback
        return len(self._runs.waiting) + new

    @property
    def unconfirmed(self) -> int:
        """Number of confirmations that have not begun."""
        if self._confirmation.selection is None:
            none_planned = self._failures.given_up() or not self._tuning.trials.is_finalist
            return 0 if none_planned else self._confirmation.planned
        return len(self._runs.unbegun(self._confirmation.unfinished))

    @property
    def left(self) -> float:
        """Estimated number of runs still to do; infinite while only time ends the tuning."""
        if self._failures.given_up():
            return 0
        quota = self._tuning.trials.quota
        if quota.endless and not self._tuning.over:
            return math.inf
        tune = quota.left if not self._tuning.over else 0
        selected = self._confirmation.selection is not None
        confirm = len(self._confirmation.unfinished) if selected else self.unconfirmed
        return tune + len(self._runs.waiting) + self._runs.tuning + confirm
