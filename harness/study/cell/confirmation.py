"""The confirmation of a cell: its selected configuration, trained at fresh seeds and evaluated on test data.

Where `confirm.vary` names the draw and not the tuning, it is trained on each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.config.schema import Config
from harness.design.prepared_cell import PreparedCell
from harness.records.record import Record
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunSpec
from harness.study.selection import Lead, Selection


class Confirmation:
    """The runs that confirm a cell's selected configuration, one a seed and replicate.

    Args:
        replicates: the cell in each replicate that this configuration is confirmed in.
        config: the study's configuration.
        seeds: of the confirmation.
        study: the study's name.
        directory: the study's directory of runs.
        records: of the study.

    Attributes:
        seeds: of each replicate: those given, and those that replication added.
        selection: the configuration that tuning selected; None before.
    """

    def __init__(
        self,
        replicates: Sequence[PreparedCell],
        config: Config,
        seeds: tuple[int, ...],
        study: str,
        directory: Path,
        records: RunRecords,
    ) -> None:
        self.seeds = seeds
        self.selection: Selection | None = None
        self._replicates, self._config, self._study, self._directory = replicates, config, study, directory
        self._records = records

    @property
    def planned(self) -> int:
        """Number of runs that confirm a configuration."""
        return len(self.seeds) * len(self._replicates)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The runs; none before a configuration was selected."""
        return self.selection.specs if self.selection is not None else ()

    @property
    def unfinished(self) -> list[RunSpec]:
        """The runs that have not ended."""
        return [spec for spec in self.specs if self._records.finished(spec) is None]

    def ended(self) -> list[tuple[RunSpec, Record]]:
        """Return the runs that ended, in the order of their seeds."""
        return [(spec, record) for spec in self.specs if (record := self._records.finished(spec)) is not None]

    def select(
        self, trial: int, val: float, values: dict[str, Any], stop_epoch: int | None, lead: Lead | None = None
    ) -> None:
        """Select a configuration.

        Args:
            trial, val: the trial's number and its validation metric.
            values: the tuned values.
            stop_epoch, lead: see `Selection`.
        """
        self.selection = Selection(trial, val, values, stop_epoch, self._runs(values, stop_epoch), lead)

    def add_seeds(self, seeds: Sequence[int]) -> None:
        """Confirm at more seeds."""
        self.seeds = (*self.seeds, *(seed for seed in seeds if seed not in self.seeds))
        if (selected := self.selection) is not None:
            self.selection = replace(selected, specs=self._runs(selected.hyperparameters, selected.stop_epoch))

    def _runs(self, values: dict[str, Any], stop_epoch: int | None) -> tuple[RunSpec, ...]:
        return tuple(
            prepared.spec(
                self._directory, self._study, "confirm", seed, values, stop_epoch=stop_epoch,
                save_model=self._config.keep == "all"
                or (self._config.keep == "best" and (prepared.replicate, seed) == (0, self.seeds[0])),
            )
            for prepared in self._replicates
            for seed in self.seeds
        )  # fmt: skip
