"""Whether a cell is given up."""

from __future__ import annotations

from harness.config.schema import TuneConfig
from harness.records.run_records import RunRecords
from harness.records.states import FAILURES, Phase, RunStatus
from harness.search.trial_result import reason_without_selection


class CellFailures:
    """Gives a cell up if its first runs all failed.

    Args:
        cell: the cell's id.
        records: of the study.
        tune: the number of failures that are allowed, and what a usable result is.

    Attributes:
        reason: why nothing more is tried or confirmed; None while the cell goes on.
    """

    def __init__(self, cell: str, records: RunRecords, tune: TuneConfig) -> None:
        self._cell, self._records, self._tune = cell, records, tune
        self.reason: str | None = None
        self._worked = False  # whether a tuning run ended with a usable result

    def given_up(self) -> bool:
        """Return whether the cell is given up, after a look at the records of its tuning runs."""
        if self.reason is None and not self._worked:
            tried = [record for record in self._records.of_cell(self._cell).values() if record.phase == Phase.TUNE]
            failed = [record for record in tried if record.status in FAILURES]
            # A trial that was paused before has costs although its status is `running`.
            self._worked = any(
                record.status in (RunStatus.OK, RunStatus.PRUNED)
                or (record.status == RunStatus.RUNNING and record.cost)
                for record in tried
            )
            if len(failed) >= self._tune.max_failures and not self._worked:
                self.reason = (
                    f"{self._cell}: given up, its first {len(failed)} runs all failed (tune.max_failures="
                    f"{self._tune.max_failures}). The last error: {failed[-1].error}"
                )
        return self.reason is not None

    def note_nothing_selected(self) -> None:
        """Give the cell up because no trial can be selected, if runs have ended that say why."""
        records = self._records.of_cell(self._cell).values()
        ended = [record for record in records if record.phase == Phase.TUNE and record.status == RunStatus.OK]
        if ended:
            self.reason = f"{self._cell}: nothing is confirmed, {reason_without_selection(ended, self._tune)}"
