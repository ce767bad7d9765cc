"""The scheduler of one cell: it tunes, selects the best configuration, and confirms it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from harness.config.schema import Config
from harness.design.cells import Cell
from harness.design.prepared_cell import UNCOMPOSED, PreparedCell
from harness.design.replicates import Replicates
from harness.records.cell_facts import state
from harness.records.files import now
from harness.records.ranking import rank
from harness.records.record import Record
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunSpec
from harness.records.states import FAILURES, RunStatus
from harness.search.joint import groups, make_trials
from harness.search.trial_source import TrialSource
from harness.study.cell.choice import Reranking, default_of, lead_of
from harness.study.cell.confirmation import Confirmation
from harness.study.cell.failures import CellFailures
from harness.study.cell.run_queue import RunQueue
from harness.study.cell.tuning import CellTuning
from harness.study.cell.workload import CellWorkload
from harness.study.live_view import CellView


class CellScheduler:
    """Decides which run of a cell starts next; the coordinator decides when it starts.

    Args:
        replicates: the cell as it is tuned, and further replicates in which the selected configuration is confirmed.
        trials: its trials, in an Optuna study of its own or of a joint study.
        config: the study's configuration.
        seeds: of the confirmation.
        study: the study's name.
        directory: the study's directory of runs.
        records: of the study.
        failures: of the cell; None makes them.
        sharing: ids of the cells that share the tuning budget with this one, itself included; () for itself alone.

    Attributes:
        prepared: the cell as it is tuned.
        trials: as given.
        runs: those under way, and those queued to continue.
        tuning, confirmation: the two phases of the cell.
        workload: how many runs are left.
    """

    def __init__(
        self,
        replicates: Sequence[PreparedCell],
        trials: TrialSource,
        config: Config,
        seeds: tuple[int, ...],
        study: str,
        directory: Path,
        records: RunRecords,
        failures: CellFailures | None = None,
        sharing: Sequence[str] = (),
    ) -> None:
        self.prepared = prepared = replicates[0]
        self.trials: TrialSource = trials
        self.runs = RunQueue()
        self._config = config
        self._reranking: Reranking | None = None
        self._records = records
        self._failures = failures or CellFailures(self.id, records, config.tune)
        sharing = tuple(sharing) or (self.name,)
        self.tuning = CellTuning(prepared, trials, config, study, directory, records, self._failures, sharing)
        self.confirmation = Confirmation(replicates, config, seeds, study, directory, records)
        self.workload = CellWorkload(self.runs, self.tuning, self.confirmation, self._failures, self.name, sharing)
        for spec in self.tuning.unfinished():
            self.runs.enqueue(spec)
        if self.tuning.over and not self.runs.waiting:
            self._choose()

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.prepared.cell

    @property
    def id(self) -> str:
        """The cell's id."""
        return self.cell.id

    @property
    def name(self) -> str:
        """The cell's id, and the label of the tuning if the cell is tuned several times."""
        return f"{self.id} (replicate {self.prepared.replicate})" if self.prepared.replicate else self.id

    @property
    def gave_up(self) -> str | None:
        """Why nothing more is tried or confirmed; None while the cell goes on."""
        return self._failures.reason

    def next(self) -> RunSpec | None:
        """Return the run to start now; None if there is none, for now or at all."""
        while True:
            spec = self.runs.next_waiting() or self._new()
            if spec is None:
                return None
            record = self._records.finished(spec) or self._uncomposed(spec)
            if record is None:
                self.runs.start(spec)
                return spec
            self.settle(spec, record)  # a run with this signature has ended already

    def _uncomposed(self, spec: RunSpec) -> Record | None:
        """Record a run whose configuration cannot be composed as failed, and return the record; None if it can be."""
        if (error := spec.config.get(UNCOMPOSED)) is None:
            return None
        record = spec.new_record(RunStatus.FAILED, f"Its configuration cannot be composed: {error['why']}")
        record.ended = now()
        record.write(spec.paths.record)
        self._records.refresh(spec.paths)
        return record

    def take_over(self, running: RunSpec) -> bool:
        """Take over a run that is under way already. Return False if the study does not need it up to that limit."""
        wanted = running.directory, running.signature, running.until
        again = [spec for own in self._reranking.specs.values() for spec in own] if self._reranking else []
        for spec in (*self.runs.waiting, *again, *self.confirmation.specs):
            if (spec.directory, spec.signature, spec.until) == wanted and spec.directory not in self.runs.active:
                if not self.runs.withdraw(spec) and self._records.finished(spec) is not None:
                    return False
                self.runs.start(spec)
                return True
        return False

    def settle(self, spec: RunSpec, record: Record) -> None:
        """Process a run that ended."""
        self.runs.end(spec)
        if spec.phase == "tune":
            self.tuning.settle(spec, record)

    def pause(self, spec: RunSpec) -> bool:
        """Report a run's scores at rungs so far. Return whether it is paused at its limit, which ends its job."""
        if not self.tuning.pause(spec):
            return False
        self.runs.end(spec)
        return True

    @property
    def done(self) -> bool:
        """True if nothing is left to do or under way."""
        if self.runs.active or self.runs.waiting or not self.tuning.over:
            return False
        if self.confirmation.selection is None:
            # Nothing is confirmed if no trial worked, or if other cells are the finalists.
            return self.trials.outcome_known and not (self.trials.complete() and self.trials.is_finalist)
        return not self.confirmation.unfinished

    def view(self) -> CellView:
        """Return the cell's line in the live table."""
        records = self._records.of_cell(self.id).values()
        selection, quota = self.confirmation.selection, self.trials.quota
        best = self.trials.complete()
        ended = self.confirmation.ended()
        here = state(
            over=selection is not None or self.done, busy=bool(self.runs.active or self.runs.waiting),
            begun=bool(records), worked=bool(best), ended=len(ended),
            ok=sum(record.status == RunStatus.OK for _, record in ended),
            # A cell with a usable trial and no selection at the end is no finalist of its joint study.
            wanted=len(self.confirmation.specs),
        )  # fmt: skip
        return CellView(
            id=self.name, state=here, tuned=quota.tried - self.runs.tuning - len(self.trials.paused()),
            trials=quota.tried if quota.exhausted else quota.planned,
            confirmed=len(ended), seeds=self.confirmation.planned, running=len(self.runs.active),
            failed=sum(record.status in FAILURES for record in records),
            best=best[0].values[0] if best else None, metric=self.cell.metric,
        )  # fmt: skip

    def _new(self) -> RunSpec | None:
        if (spec := self.tuning.next()) is not None:
            return spec
        if not self.tuning.over:
            return None  # the suggestion is for another cell of the joint study, or repeats a trial under way
        if self.confirmation.selection is None and not self.runs.tuning:
            if (spec := self.tuning.promote_best_paused()) is not None:
                return spec
            self._choose()
        further = self._reranking.unfinished if self._reranking and self.confirmation.selection is None else []
        unfinished = further or self.confirmation.unfinished
        return next((spec for spec in unfinished if spec.directory not in self.runs.active), None)

    def _choose(self) -> None:
        """Select the configuration that is confirmed, once it is known."""
        if not self.trials.outcome_known:
            return
        self.tuning.end_paused()
        if not self.trials.is_finalist:
            return
        best = self._best()
        if best is None:
            self._failures.note_nothing_selected()
            return
        default = default_of(self.prepared, self.trials.complete())
        lead = lead_of(self.prepared, best, default)
        if self._config.tune.select == "one_standard_error" and default is not None and lead and lead.within_error:
            best = default
        elif self._config.tune.select == "rerank":
            if self._reranked(best).unfinished:
                return
            best = self._reranked(best).best()
            lead = lead_of(self.prepared, best, default)
        values = self.trials.suggestion(best.number).values
        stop_epoch = None
        if self.prepared.facts.get("validation") == "kfold":
            # Confirmations train on all rows, so none are left to select an epoch: the median of the folds decides.
            record = self._records.finished(self.tuning.spec(best.number, values))
            stop_epoch = record.cost.get("best_epoch") if record else None
        self.confirmation.select(best.number, float(best.values[0]), values, stop_epoch, lead)

    def _reranked(self, best: FrozenTrial) -> Reranking:
        """Return the ranking of the best trials at fresh seeds, which is made once the tuning is over."""
        if self._reranking is None:
            others = [trial for trial in self.trials.complete() if trial.number != best.number]
            self._reranking = Reranking(
                self.prepared, [best, *others], lambda trial, seed: self.tuning.spec_again(trial.number, seed),
                self._records, self._config.seed,
            )  # fmt: skip
        return self._reranking

    def _best(self) -> FrozenTrial | None:
        """Return the best trial; records are read only to break ties in the metric."""
        done = self.trials.complete()
        equals = [trial for trial in done if trial.values[0] == done[0].values[0]]

        def place(trial: FrozenTrial) -> tuple[float, float, int]:
            record = self._records.finished(self.tuning.spec(trial.number))
            loss = record.metrics["val"].get("loss") if record else None
            return rank(trial.values[0], loss, trial.number, not self.cell.maximize)

        return min(equals, key=place, default=None)


def make_schedulers(
    prepared: Sequence[PreparedCell],
    config: Config,
    seeds: tuple[int, ...],
    study: str,
    directory: Path,
    records: RunRecords,
    storage: BaseStorage,
    warm: Mapping[str, Sequence[dict[str, Any]]],
    replicates: Replicates | None = None,
) -> list[CellScheduler]:
    """Make the schedulers of all cells of a study: one for each tuning of each cell.

    Args:
        prepared: the cells.
        replicates: of the cells; None for one each.
        config, seeds, study, directory, records: see `CellScheduler`.
        storage: of the trials.
        warm: see `harness.search.joint.make_trials`.
    """
    failures = {each.cell.id: CellFailures(each.cell.id, records, config.tune) for each in prepared}
    given_up: dict[str, Callable[[], bool]] = {cell: each.given_up for cell, each in failures.items()}
    trials = make_trials(prepared, config.tune, study, storage, warm, given_up)
    sharing: dict[str, tuple[str, ...]] = {}
    if config.tune.mode == "joint":
        for group in groups([each.cell for each in prepared]):
            sharing |= dict.fromkeys((cell.id for cell in group), tuple(cell.id for cell in group))
    own = replicates or {each.cell.id: (each,) for each in prepared}
    tuned_once = config.confirm.tunings == 1
    schedulers = [
        CellScheduler(
            own[cell] if tuned_once else own[cell][:1], trials[cell], config, seeds, study, directory, records,
            failures[cell], sharing.get(cell, ()),
        )
        for cell in (each.cell.id for each in prepared)
    ]  # fmt: skip
    for label in config.confirm.labels[1:] if not tuned_once else ():
        again = [own[each.cell.id][label] for each in prepared]
        tune = replace(config.tune, seed=config.tune.seed + label)
        trials = make_trials(again, tune, f"{study}/replicate{label}", storage, warm)
        schedulers += [
            CellScheduler([each], trials[each.cell.id], config, seeds, study, directory, records) for each in again
        ]
    return schedulers
