"""Which trial of a cell is confirmed (`tune.select`), and how far it leads the documented default."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from harness.config.schema import RERANKED
from harness.design.prepared_cell import PreparedCell
from harness.design.replicates import rerank_seeds
from harness.records.record import metric_of
from harness.records.run_records import RunRecords
from harness.records.run_spec import RunSpec
from harness.study.selection import Lead


def lead_of(prepared: PreparedCell, best: FrozenTrial, default: FrozenTrial | None) -> Lead | None:
    """Return the lead of a trial over the default; None without the default's score.

    The standard error of accuracy is that of a proportion. It stands for that of other scores between 0 and 1; trials
    keep no scores of single rows.
    """
    counts, kfold = prepared.facts.get("rows") or {}, prepared.facts.get("validation") == "kfold"
    rows = int(counts.get("train" if kfold else "validation") or 0)
    if default is None or not rows:
        return None
    sign = 1 if prepared.cell.maximize else -1
    value = float(best.values[0])
    bounded = prepared.cell.maximize and 0 <= value <= 1
    error = math.sqrt(value * (1 - value) / rows) if bounded else None
    return Lead(sign * (value - float(default.values[0])), rows, error)


def default_of(prepared: PreparedCell, complete: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial of the documented default; None if there is none."""
    default = prepared.cell.defaults()
    return next((trial for trial in complete if default is not None and trial.params == default), None)


class Reranking:
    """`tune.select=rerank`: the best trials are trained again at fresh seeds, and the best mean is chosen.

    Args:
        prepared: the cell.
        best_first: its complete trials.
        spec: returns the run of a trial at a seed, given trial and seed.
        records: of the study.
        seed: of the tuning.

    Attributes:
        specs: the further runs, by trial.
    """

    def __init__(
        self,
        prepared: PreparedCell,
        best_first: Sequence[FrozenTrial],
        spec: Callable[[FrozenTrial, int], RunSpec],
        records: RunRecords,
        seed: int,
    ) -> None:
        self._prepared, self._records = prepared, records
        seeds = rerank_seeds(seed)
        self._trials = list(best_first[:RERANKED])
        self.specs = {trial.number: [spec(trial, fresh) for fresh in seeds] for trial in self._trials}

    @property
    def unfinished(self) -> list[RunSpec]:
        """The runs that have not ended; with one trial there is nothing to rank."""
        if len(self._trials) < 2:
            return []
        return [spec for own in self.specs.values() for spec in own if self._records.finished(spec) is None]

    def best(self) -> FrozenTrial:
        """Return the trial with the best mean over all its seeds; ties go to the one that was ahead.

        A seed that failed counts as the worst score of all.
        """
        metric, sign = self._prepared.cell.metric, 1 if self._prepared.cell.maximize else -1
        scores = {trial.number: [sign * float(trial.values[0])] for trial in self._trials}
        failed: list[int] = []
        for number, own in self.specs.items():
            for spec in own if len(self._trials) > 1 else ():
                record = self._records.finished(spec)
                value = None if record is None else metric_of(record, "val", metric)
                if value is None:
                    failed.append(number)
                else:
                    scores[number].append(sign * value)
        worst = min(min(values) for values in scores.values())
        for number in failed:
            scores[number].append(worst)
        return max(self._trials, key=lambda trial: sum(scores[trial.number]) / len(scores[trial.number]))
