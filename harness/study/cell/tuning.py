"""The tuning of a cell: which trial runs next, and when the tuning is over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.config.kinds import kind_of
from harness.config.schema import Config
from harness.design.prepared_cell import PreparedCell
from harness.records.record import Record
from harness.records.run_records import RunRecords, prune
from harness.records.run_spec import RunSpec
from harness.records.signature import METHOD_NUMERICS
from harness.records.states import Phase
from harness.search.samplers import seed_of
from harness.search.trial_source import TrialSource
from harness.study.cell.failures import CellFailures
from harness.study.cell.trial_feedback import TrialFeedback

OWN_SEEDS = 2**31 - 2**24  # number of seeds of trials with seeds of their own; replicates add to them


class CellTuning:
    """The tuning runs of a cell.

    Args:
        prepared: the cell.
        trials: its trials, in an Optuna study of its own or of a joint study.
        config: the study's configuration.
        study: the study's name.
        directory: the study's directory of runs.
        records: of the study.
        failures: of the cell.
        sharing: ids of the cells that share the tuning budget with this one, itself included.

    Attributes:
        trials: as given.
        feedback: what the trials hear of their runs.
    """

    def __init__(
        self,
        prepared: PreparedCell,
        trials: TrialSource,
        config: Config,
        study: str,
        directory: Path,
        records: RunRecords,
        failures: CellFailures,
        sharing: Sequence[str],
    ) -> None:
        self.trials = trials
        self.feedback = TrialFeedback(trials, prepared.cell.metric, config.tune)
        self._prepared, self._config, self._study, self._directory = prepared, config, study, directory
        self._records, self._failures, self._sharing = records, failures, sharing

    @property
    def over(self) -> bool:
        """True if no further configuration is tried."""
        return self.trials.quota.closed or self.used_up

    @property
    def used_up(self) -> bool:
        """True if the cell's own tuning budget is used up."""
        seconds = self._config.tune.seconds
        if self._failures.given_up() or self.trials.quota.over:
            return True
        return seconds is not None and self._spent() >= seconds

    @property
    def planned(self) -> int | None:
        """Number of configurations to try; None: as many as the seconds allow."""
        return self.trials.quota.planned

    @property
    def tried(self) -> int:
        """Number of configurations that were tried or are being tried."""
        return self.trials.quota.tried

    @property
    def paused(self) -> tuple[RunSpec, ...]:
        """Trials that are paused at a rung and may be promoted."""
        return tuple(self.spec(number) for number in self.trials.paused())

    @property
    def full_run(self) -> int:
        """Amount of the resource of a full run, in the unit of the rungs."""
        return self.trials.rungs.total

    def spec(self, number: int, values: dict[str, Any] | None = None) -> RunSpec:
        """Return the run of a trial, up to the rung that it may run to; `values` saves decoding them again."""
        return self._prepared.spec(
            self._directory,
            self._study,
            Phase.TUNE,
            self._seed(number),
            self.trials.suggestion(number).values if values is None else values,
            trial=number,
            save_model=self._config.keep == "all",
            rungs=self.trials.rungs.at,
            resource=self.trials.rungs.resource,
            until=self.trials.limit(number),
        )

    def spec_again(self, number: int, seed: int) -> RunSpec:
        """Return a further run of a trial, whole and at another seed (`tune.select=rerank`)."""
        values = self.trials.suggestion(number).values
        return self._prepared.spec(self._directory, self._study, Phase.RERANK, seed, values, trial=number)

    def _seed(self, number: int) -> int:
        """Return the training seed of a trial."""
        seed = self._config.seed
        return seed if self._config.tune.trial_seeds == "shared" else seed_of(seed, "trial", number) % OWN_SEEDS

    def next(self) -> RunSpec | None:
        """Return the run of the next trial; None if there is none, for now or at all."""
        while (suggestion := self.trials.suggest(new=not self.over)) is not None:
            if suggestion.duplicate_of is None:
                return self.spec(suggestion.number, suggestion.values)
            self.feedback.tell_duplicate(suggestion.number, suggestion.duplicate_of)
            waits = not (self.feedback.ended(suggestion.number) or suggestion.duplicate_of in self.trials.paused())
            if waits and not self.trials.quota.startable_without_feedback:
                return None  # the sampler learns from the trial that this one duplicates, and that is still under way
        return None

    def promote_best_paused(self) -> RunSpec | None:
        """Let the best paused trial continue if none is complete; None if one is, or if none is paused."""
        promoted = self.trials.promote_best_paused()
        return None if promoted is None else self.spec(promoted.number, promoted.values)

    def unfinished(self) -> list[RunSpec]:
        """Return the runs of earlier coordinators that did not end; tell the results of those that did."""
        # Trials that have ended are not composed again for their signature: a large study has very many. That is safe
        # because of all that a signature is made of, `study_file.check_same` has refused another configuration, data
        # and model; `has_ended` knows other numerics, except those of a method.
        signed = kind_of(self._prepared.base["method"]) in METHOD_NUMERICS
        unfinished = []
        for trial in self.trials.all():
            directory = self._prepared.trial_directory(self._directory, trial.number)
            if trial.state.is_finished() and not signed and self._records.has_ended(directory):
                continue
            suggestion = self.trials.suggestion(trial.number)
            if suggestion.duplicate_of is not None:
                if not trial.state.is_finished():
                    self.feedback.tell_duplicate(trial.number, suggestion.duplicate_of)
                continue
            spec = self.spec(trial.number, suggestion.values)
            record = self._records.finished(spec)
            if record is None:
                begun = self._records.of_cell(self._prepared.cell.id).get(spec.directory)
                if begun is None or begun.signature != spec.signature or not self.pause(spec):
                    unfinished.append(spec)
            elif not trial.state.is_finished():
                self.feedback.report_file(spec, trial.number)
                self.feedback.tell(trial.number, record)
        return unfinished

    def settle(self, spec: RunSpec, record: Record) -> None:
        """Tell the result of a tuning run that ended."""
        if spec.trial is not None and not self.feedback.ended(spec.trial):
            self.feedback.report_file(spec, spec.trial)
            self.feedback.tell(spec.trial, record)

    def pause(self, spec: RunSpec) -> bool:
        """Report a run's scores at rungs so far. Return whether it is paused at its limit."""
        if spec.trial is None or spec.until is None or spec.result() is None:
            return False  # a run may be evaluated at a rung, and lost before it wrote its checkpoint and record
        self.feedback.report_file(spec, spec.trial)
        return spec.trial in self.trials.paused()

    def close(self) -> None:
        """Try no further configuration: the rest of the study's budget is for confirmation."""
        self.trials.quota.close()

    def end_paused(self) -> None:
        """Prune paused trials that are not needed anymore, unless the study's budget ended the tuning.

        In that case they stay paused, so that a larger budget can continue them.
        """
        if self.trials.quota.closed:
            return
        # Otherwise tune.seconds ended the tuning, and some may have been promotable.
        why = "others were better" if self.trials.quota.over else "tune.seconds was spent"
        for spec in self.paused:
            record = prune(spec, f"Paused at {spec.until} {spec.resource}, and {why}.")
            self._records.refresh(spec.paths)
            self.feedback.tell(spec.trial or 0, record)

    def _spent(self) -> float:
        return sum(self._records.tally.spent(cell, Phase.TUNE) for cell in self._sharing)
