"""The scheduler of one cell: it tunes, selects the best configuration, and confirms it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harness.config.schema import Config
from harness.design.prepared_cell import UNCOMPOSED, PreparedCell
from harness.records.files import now
from harness.records.ranking import rank
from harness.records.record import Record
from harness.records.run_records import RunRecords, prune
from harness.records.run_spec import RunSpec
from harness.search.joint_cell import MethodTrials
from harness.search.rung_scores import rung_scores
from harness.search.trial_result import TrialResult, trial_result, why_none
from harness.search.trials import Trials
from harness.study.live_view import CellView
from harness.study.selection import Selection


class CellScheduler:
    """Decides which run of a cell starts next; the coordinator decides when it starts.

    Args:
        ready: the cell.
        trials: its trials, in an Optuna study of its own or of a joint study.
        config: the study's configuration.
        seeds: of the confirmation.
        study: the study's name.
        directory: the study's directory of runs.
        records: of the study.

    Attributes:
        active: the runs under way, by directory.
        choice: the configuration that tuning selected; None before.
        gave_up: why nothing more is tried or confirmed; None while the cell goes on.
        started: number of runs that were started.
    """

    def __init__(
        self,
        ready: PreparedCell,
        trials: Trials | MethodTrials,
        config: Config,
        seeds: tuple[int, ...],
        study: str,
        directory: Path,
        records: RunRecords,
    ) -> None:
        self.ready, self.trials, self.seeds = ready, trials, seeds
        self._config, self._study, self._directory, self._records = config, study, directory, records
        self.active: dict[str, RunSpec] = {}
        self.choice: Selection | None = None
        self.gave_up: str | None = None
        self.started = 0
        self._worked = False  # whether a tuning run ended with a usable result
        self._closed = False  # whether the study's budget ended the tuning
        self._todo: deque[RunSpec] = deque()
        self._waiting: dict[int, list[int]] = {}  # trial under way -> its duplicates, which wait for its result
        self.trials.watch(lambda: self._give_up() is not None)
        self._reconcile()

    @property
    def id(self) -> str:
        """The cell's id."""
        return self.ready.cell.id

    def _reconcile(self) -> None:
        """Report trials that ended without a coordinator; requeue those that did not end."""
        for trial in self.trials.all():
            suggestion = self.trials.suggestion(trial.number)
            if suggestion.duplicate_of is not None:
                if not trial.state.is_finished():
                    self._answer_duplicate(trial.number, suggestion.duplicate_of)
                continue
            spec = self._tune_spec(trial.number, suggestion.values)
            record = self._records.finished(spec)
            if record is None:
                begun = self._records.of_cell(self.id).get(spec.directory)
                if begun is None or begun.signature != spec.signature or not self.pause(spec):
                    self._todo.append(spec)
            elif not trial.state.is_finished():
                self._report(spec, trial.number)
                self._tell(trial.number, record)
        if self.tuning_over and not self._todo:
            self._choose()

    def next(self) -> RunSpec | None:
        """Return the run to start now; None if there is none, for now or at all."""
        while True:
            spec = self._todo.popleft() if self._todo else self._new()
            if spec is None:
                return None
            record = self._records.finished(spec) or self._uncomposed(spec)
            if record is None:
                self.active[spec.directory] = spec
                self.started += 1
                return spec
            self.settle(spec, record)  # a run with this signature has ended already

    def _uncomposed(self, spec: RunSpec) -> Record | None:
        """Record a run whose configuration cannot be composed as failed, and return the record; None if it can be."""
        if (found := spec.config.get(UNCOMPOSED)) is None:
            return None
        record = spec.new_record("failed", f"Its configuration cannot be composed: {found['why']}")
        record.ended = now()
        record.write(spec.paths.record)
        self._records.refresh(spec.paths)
        return record

    def adopt(self, found: RunSpec) -> bool:
        """Take over a run that is under way already. Return False if the study does not need it up to that limit."""
        confirmations = self.choice.specs if self.choice is not None else ()
        wanted = found.directory, found.signature, found.until
        for spec in (*self._todo, *confirmations):
            if (spec.directory, spec.signature, spec.until) == wanted and spec.directory not in self.active:
                if spec in self._todo:
                    self._todo.remove(spec)
                elif self._records.finished(spec) is not None:
                    return False
                self.active[spec.directory] = spec
                self.started += 1
                return True
        return False

    def again(self, spec: RunSpec) -> None:
        """Requeue a run that was lost, or that was stopped and continues later."""
        self.active.pop(spec.directory, None)
        self._todo.append(spec)

    def settle(self, spec: RunSpec, record: Record) -> None:
        """Process a run that ended."""
        self.active.pop(spec.directory, None)
        if spec.phase == "tune" and spec.trial is not None and not self.trials.told(spec.trial):
            self._report(spec, spec.trial)
            self._tell(spec.trial, record)

    def pause(self, spec: RunSpec) -> bool:
        """Report a run's scores at rungs so far. Return whether it is paused at its limit, which ends its job."""
        if spec.trial is None or spec.until is None or spec.result() is None:
            return False  # a run may be evaluated at a rung, and lost before it wrote its checkpoint and record
        self._report(spec, spec.trial)
        if spec.trial not in self.trials.paused():
            return False
        self.active.pop(spec.directory, None)
        return True

    def _report(self, spec: RunSpec, number: int) -> None:
        """Report the scores at rungs of a run that ended or is paused: other trials are compared with them."""
        if spec.rungs and (found := rung_scores(spec, self.ready.cell.metric)):
            for rung, value in found.items():
                self.trials.report(number, rung, value)
            self.trials.should_prune(number)  # a pruner stores the rung that a trial has reached only when asked

    @property
    def waiting(self) -> tuple[RunSpec, ...]:
        """Runs that were begun and are queued to continue."""
        return tuple(self._todo)

    @property
    def paused(self) -> tuple[RunSpec, ...]:
        """Trials that are paused at a rung and may be promoted."""
        return tuple(self._tune_spec(number, self.trials.suggestion(number).values) for number in self.trials.paused())

    @property
    def startable_now(self) -> int:
        """Estimated number of runs that could start now, whatever the results of others."""
        return len(self._todo) + (self.unconfirmed if self.tuning_over else self.trials.startable_now)

    @property
    def startable_without_feedback(self) -> int:
        """Number of runs that could start now without the sampler missing the results of earlier ones."""
        return len(self._todo) + (self.unconfirmed if self.tuning_over else self.trials.startable_without_feedback)

    @property
    def possible_cells(self) -> tuple[str, ...]:
        """Ids of the cells to which a new run may belong, this one included (several in a joint study)."""
        return (self.id,) if self.tuning_over else self.trials.group or (self.id,)

    @property
    def planned(self) -> int | None:
        """Number of configurations to try; None: as many as the seconds allow."""
        return self.trials.planned

    @property
    def unconfirmed(self) -> int:
        """Number of confirmations that have not begun."""
        if self.choice is None:
            return 0 if self._give_up() or not self.trials.is_finalist else len(self.seeds)
        begun = {*self.active, *(spec.directory for spec in self._todo)}
        return sum(s.directory not in begun and self._records.finished(s) is None for s in self.choice.specs)

    def close(self) -> None:
        """Try no further configuration: the rest of the study's budget is for confirmation."""
        self._closed = True
        self.trials.close()

    @property
    def tuning_over(self) -> bool:
        """True if no further configuration is tried."""
        return self._closed or self.tuned

    @property
    def tuned(self) -> bool:
        """True if the cell's own tuning budget is used up."""
        tune = self._config.tune
        if self._give_up() is not None or self.trials.over:
            return True
        return tune.seconds is not None and self._spent() >= tune.seconds

    @property
    def done(self) -> bool:
        """True if nothing is left to do or under way."""
        if self.active or self._todo or not self.tuning_over:
            return False
        if self.choice is None:
            # Nothing is confirmed if no trial worked, or if other cells are the finalists.
            return self.trials.settled and not (self.trials.complete() and self.trials.is_finalist)
        return all(self._records.finished(spec) for spec in self.choice.specs)

    def left(self) -> float:
        """Return the estimated number of runs still to do; infinite while only time ends the tuning."""
        if self._give_up():
            return 0
        if self.trials.endless and not self.tuning_over:
            return math.inf
        tune = self.trials.left if not self.tuning_over else 0
        confirm = (
            sum(not self._records.finished(spec) for spec in self.choice.specs) if self.choice else self.unconfirmed
        )
        return tune + len(self._todo) + sum(spec.phase == "tune" for spec in self.active.values()) + confirm

    def view(self) -> CellView:
        """Return the cell's line in the live table."""
        records = self._records.of_cell(self.id).values()
        confirmed = sum(self._records.finished(spec) is not None for spec in self.choice.specs) if self.choice else 0
        best = self.trials.complete()
        going = sum(s.phase == "tune" for s in self.active.values())
        phases = {spec.phase for spec in self.active.values()}
        state = "waiting"
        if self.done:
            # A cell with a usable trial and no confirmation is no finalist of its joint study.
            state = "done" if self.choice is not None or self.trials.complete() else "failed"
        elif phases or records:
            state = "confirming" if self.choice is not None else "tuning"
        return CellView(
            id=self.id, state=state, tuned=self.trials.tried - going - len(self.trials.paused()),
            trials=self.trials.tried if self.trials.exhausted else self.trials.planned,
            confirmed=confirmed, seeds=len(self.seeds), running=len(self.active),
            failed=sum(record.status in ("failed", "lost") for record in records),
            best=best[0].values[0] if best else None,
        )  # fmt: skip

    def _new(self) -> RunSpec | None:
        suggestion = self.trials.pending()
        while suggestion is not None or not self.tuning_over:
            suggestion = suggestion or self.trials.ask()
            if suggestion is None:
                return None  # the joint study's suggestion is for another cell
            if suggestion.duplicate_of is None:
                return self._tune_spec(suggestion.number, suggestion.values)
            self._answer_duplicate(suggestion.number, suggestion.duplicate_of)
            if not (self.trials.told(suggestion.number) or suggestion.duplicate_of in self.trials.paused()):
                return None  # the trial that it duplicates is still under way
            suggestion = None
        if self.choice is None and not any(spec.phase == "tune" for spec in self.active.values()):
            if (last := self.trials.last()) is not None:
                return self._tune_spec(last.number, last.values)
            self._choose()
        specs = self.choice.specs if self.choice is not None else ()
        left = (s for s in specs if s.directory not in self.active and self._records.finished(s) is None)
        return next(left, None)

    def _choose(self) -> None:
        if not self.trials.settled:
            return
        self._end_paused()
        if not self.trials.is_finalist:
            return
        best = self._best()
        if best is None:
            self._explain()
            return
        values = self.trials.suggestion(best.number).values
        stop_epoch = None
        if self.ready.facts.get("validation") == "kfold":
            # Confirmations train on all rows, so none are left to select an epoch: the median of the folds decides.
            record = self._records.finished(self._tune_spec(best.number, values))
            stop_epoch = record.cost.get("best_epoch") if record else None
        specs = self._confirmations(values, stop_epoch)
        self.choice = Selection(best.number, float(best.values[0]), values, stop_epoch, specs)

    def _confirmations(self, values: dict[str, Any], stop_epoch: int | None) -> tuple[RunSpec, ...]:
        return tuple(
            self.ready.spec(
                self._directory, self._study, "confirm", seed, values, stop_epoch=stop_epoch,
                save_model=self._config.keep == "all" or (self._config.keep == "best" and seed == self.seeds[0]),
            )
            for seed in self.seeds
        )  # fmt: skip

    def grant(self, seeds: Sequence[int]) -> None:
        """Confirm at more seeds."""
        self.seeds = (*self.seeds, *(seed for seed in seeds if seed not in self.seeds))
        if self.choice is not None:
            choice = self.choice
            self.choice = replace(choice, specs=self._confirmations(choice.hyperparameters, choice.stop_epoch))

    def confirmed(self) -> list[tuple[RunSpec, Record]]:
        """Return the confirmations that ended, in the order of their seeds."""
        specs = self.choice.specs if self.choice is not None else ()
        return [(spec, record) for spec in specs if (record := self._records.finished(spec)) is not None]

    def _best(self) -> FrozenTrial | None:
        """Return the best trial; records are read only to break ties in the metric."""
        done = self.trials.complete()
        equals = [trial for trial in done if trial.values[0] == done[0].values[0]]

        def place(trial: FrozenTrial) -> tuple[float, float, int]:
            record = self._records.finished(self._tune_spec(trial.number, self.trials.suggestion(trial.number).values))
            loss = record.metrics["val"].get("loss") if record else None
            return rank(trial.values[0], loss, trial.number, not self.ready.cell.maximize)

        return min(equals, key=place, default=None)

    def _tune_spec(self, number: int, values: dict[str, Any]) -> RunSpec:
        return self.ready.spec(
            self._directory,
            self._study,
            "tune",
            self._config.seed,
            values,
            trial=number,
            save_model=self._config.keep == "all",
            rungs=self.trials.rungs.at,
            resource=self.trials.rungs.resource,
            until=self.trials.limit(number),
        )

    def _end_paused(self) -> None:
        """Prune paused trials that are not needed anymore, unless the study's budget ended the tuning.

        In that case they stay paused, so that a larger budget can continue them.
        """
        late = self.trials.over  # otherwise tune.seconds ended the tuning, and some may have been promotable
        for spec in self.paused if not self._closed else ():
            why = "others were better" if late else "tune.seconds was spent"
            record = prune(spec, f"Paused at {spec.until} {spec.resource}, and {why}.")
            self._records.refresh(spec.paths)
            self._tell(spec.trial or 0, record)

    def _tell(self, number: int, record: Record) -> None:
        answer = trial_result(record, self.ready.cell.metric, self._config.tune)
        self._answer(number, answer, record.status == "pruned")
        for duplicate in self._waiting.pop(number, []):
            self._answer(duplicate, answer)

    def _answer(self, number: int, answer: TrialResult, pruned: bool = False) -> None:
        self.trials.tell(number, answer.value, pruned, answer.costs, answer.excess)

    def _answer_duplicate(self, number: int, original: int) -> None:
        trial = self.trials.trial(original)
        if trial.state.is_finished():
            # The value of a pruned trial is its score at the last rung, not that of a whole run.
            value, *costs = (trial.values if trial.state == TrialState.COMPLETE else None) or [None]
            self._answer(number, TrialResult(value, tuple(costs), trial.constraints))
        else:
            self._waiting.setdefault(original, []).append(number)

    def _explain(self) -> None:
        """Set `gave_up` to the reason why nothing is confirmed although runs have ended."""
        ended = [r for r in self._records.of_cell(self.id).values() if r.phase == "tune" and r.status == "ok"]
        if ended:
            self.gave_up = f"{self.id}: nothing is confirmed, {why_none(ended, self._config.tune)}"

    def _give_up(self) -> str | None:
        """Return why the cell is given up (its first runs all failed); None while it goes on."""
        if self.gave_up is None and not self._worked:
            tried = [record for record in self._records.of_cell(self.id).values() if record.phase == "tune"]
            failed = [record for record in tried if record.status in ("failed", "lost")]
            # A trial that was paused before has costs although its status is `running`.
            self._worked = any(r.status in ("ok", "pruned") or (r.status == "running" and r.cost) for r in tried)
            if len(failed) >= self._config.tune.max_failures and not self._worked:
                self.gave_up = (
                    f"{self.id}: given up, its first {len(failed)} runs all failed (tune.max_failures="
                    f"{self._config.tune.max_failures}). The last error: {failed[-1].error}"
                )
        return self.gave_up

    def _spent(self) -> float:
        return sum(self._records.tally.spent(cell, "tune") for cell in self.trials.group or (self.id,))
