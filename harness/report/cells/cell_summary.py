"""Summarize a cell's runs in one row of the table."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.records.cell_facts import best_trial, confirmations, minimizes, result, state
from harness.records.record import Record, number
from harness.records.record import metric_of as metric
from harness.records.states import FAILURES, CellOutcome, Phase, RunStatus
from harness.report.cells.cell_costs import SEARCH, cell_costs, cost_spreads
from harness.report.reading.runs import Run
from harness.report.reading.study import Cell, Study

__all__ = ["CellSummary", "rows", "number", "mean_std", "metric", "facts"]


@dataclass(frozen=True)
class CellSummary:
    """Summary of a cell. Metrics are fractions; unknown values are None.

    Attributes:
        seeds, test_values: the confirmed seeds and their test metric, in the order of the seeds. Single runs count as
            confirmed, because they are evaluated on the test split, too.
        test_std: sample standard deviation over seeds (ddof 1); None below two seeds.
        val_best: best validation metric among the tuning runs that satisfy `tune.constraints` (without any: mean over
            the confirmed runs).
        best_trial: the run that `val_best` belongs to; None without one.
        trials: tuning runs that have ended.
        failed: failed and lost runs of every phase; `lost` counts the lost ones among them.
        pruned: runs that were stopped early for their poor scores.
        costs: by name, see `harness.report.cells.cell_costs`; unknown costs are absent.
        status: ok | partial | failed | running | not started.
        error: most frequent error of the failed runs.
        evaluated: records of the confirmed runs behind `test_values`.
        superseded: confirmed runs that do not count, because their hyperparameters are no longer the chosen ones.
        unconfirmed: confirmations that are wanted and have not ended; their results may change every verdict.
        crashed: records of confirmations of the chosen configuration that failed or were lost; `failed` counts them.
        spreads: sample standard deviations over the confirmed runs of those costs that are means over them.
    """

    cell: Cell
    minimize: bool
    seeds: tuple[int, ...]
    test_values: tuple[float, ...]
    test_mean: float | None
    test_std: float | None
    val_best: float | None
    best_trial: Record | None
    trials: int
    failed: int
    running: int
    hyperparameters: dict[str, Any]
    status: str
    error: str | None
    evaluated: tuple[Record, ...]
    superseded: int
    pruned: int = 0
    lost: int = 0
    costs: dict[str, float] = field(default_factory=dict)
    unconfirmed: int = 0
    crashed: tuple[Record, ...] = ()
    spreads: dict[str, float] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """True if no result is missing: nothing is under way, and every wanted confirmation has ended."""
        return not self.unconfirmed and self.status not in (CellOutcome.RUNNING, CellOutcome.NOT_STARTED)

    @property
    def question(self) -> tuple[str, str, str]:
        """What cells must share to be compared: task, the task's own axes (e.g. shots), and metric."""
        axes = " ".join(f"{key}={value}" for key, value in self.cell.variant.items() if key.startswith("task."))
        return self.cell.task, axes, self.cell.metric

    def better(self, value: float) -> float:
        """Convert a metric to a score of which higher is better."""
        return -value if self.minimize else value


def rows(study: Study) -> list[CellSummary]:
    """Summarize every cell; sorted by task, then best first, then cells without a test score by validation score."""
    seeds = _mapping(study.sweep.get("confirm")).get("seeds")
    wanted = len(seeds) if isinstance(seeds, list) else seeds if isinstance(seeds, int) else None
    hardware = _mapping(study.sweep.get("hardware"))
    limits = _mapping(_mapping(study.sweep.get("tune")).get("constraints"))
    finalists = _finalists(study)
    found = (
        _row(cell, len(cell.chosen) or wanted, hardware, limits, _left_out(cell, finalists)) for cell in study.cells
    )
    return sorted(found, key=_rank)


def _finalists(study: Study) -> set[tuple[str, str]]:
    """Return the tasks and models of a joint study whose finalists are known; its other methods are not confirmed."""
    if _mapping(study.sweep.get("tune")).get("mode") != "joint":
        return set()
    return {(cell.task, cell.model) for cell in study.cells if cell.chosen}


def _left_out(cell: Cell, finalists: set[tuple[str, str]]) -> bool:
    return not cell.chosen and (cell.task, cell.model) in finalists


def mean_std(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation, each None if there are too few values."""
    known = list(values)
    mean = statistics.fmean(known) if known else None
    return mean, statistics.stdev(known) if len(known) > 1 else None


def facts(record: Record) -> dict[str, Any]:
    """Return the facts recorded about a run's data, including warnings and fingerprint."""
    nested = record.data.get("facts")
    return {**{key: value for key, value in record.data.items() if key != "facts"}, **_mapping(nested)}


def _row(
    cell: Cell, wanted: int | None, hardware: Mapping[str, Any], limits: Mapping[str, Any], left_out: bool
) -> CellSummary:
    runs = cell.runs
    minimize = minimizes(cell.metric, cell.direction)
    tuned = [run for run in runs if run.phase == Phase.TUNE]
    # Other replicates are tuned with other validation rows or seeds, so their scores are not of one search.
    best = best_trial((run for run in tuned if not run.replicate), cell.metric, minimize, limits)
    best_value = best.metric("val", cell.metric) if best else None
    counted = confirmations(runs, cell.chosen, best)
    evaluated, chosen_ones, superseded = _evaluated(cell, counted)
    test = [value for run in evaluated if (value := run.metric("test", cell.metric)) is not None]
    if best_value is None:
        best_value, _ = mean_std(v for run in evaluated if (v := run.metric("val", cell.metric)) is not None)
    chosen = evaluated[0] if evaluated else best
    failures = [run for run in runs if run.status in (RunStatus.FAILED, RunStatus.LOST)]
    statuses = Counter(run.status for run in runs)
    mean, std = mean_std(test)
    status = _status(cell, counted, len(test) if chosen_ones else 0, wanted)
    return CellSummary(
        cell=cell,
        minimize=minimize,
        seeds=tuple(run.seed for run in evaluated),
        test_values=tuple(test),
        test_mean=mean,
        test_std=std,
        val_best=best_value,
        best_trial=best.record if best else None,
        trials=sum(run.status != RunStatus.RUNNING for run in tuned),
        failed=len(failures),
        running=statuses[RunStatus.RUNNING],
        hyperparameters=dict(sorted(chosen.record.hyperparameters.items())) if chosen else {},
        status=status,
        error=_error(failures, cell.unreadable),
        evaluated=tuple(run.record for run in evaluated),
        superseded=superseded,
        pruned=statuses[RunStatus.PRUNED],
        lost=statuses[RunStatus.LOST],
        costs=cell_costs(runs, evaluated, evaluated or ([best] if best else runs), hardware),
        unconfirmed=0 if status == CellOutcome.FAILED or left_out else _unconfirmed(cell, counted, wanted),
        crashed=_crashed(counted, evaluated if chosen_ones else []),
        spreads=cost_spreads(evaluated, hardware),
    )


def _unconfirmed(cell: Cell, counted: Sequence[Run], wanted: int | None) -> int:
    """Count the confirmations that have not ended; single runs want none."""
    if cell.runs and all(run.phase == Phase.SINGLE for run in cell.runs):
        return 0
    return max(0, (1 if wanted is None else wanted) - sum(run.status != RunStatus.RUNNING for run in counted))


def place_of(record: Record) -> tuple[int, int]:
    """Return the replicate and the seed of a confirmation; a study that varies only the seed has replicate 0."""
    return record.replicate, record.seed


def _crashed(counted: Sequence[Run], evaluated: Sequence[Run]) -> tuple[Record, ...]:
    """Return one failed run of each seed at which no confirmation ended well, by replicate and seed."""
    done = {place_of(run.record) for run in evaluated}
    lost = {place_of(run.record): run.record for run in counted if run.status in FAILURES}
    return tuple(lost[place] for place in sorted(lost) if place not in done)


def _evaluated(cell: Cell, counted: Sequence[Run]) -> tuple[list[Run], bool, int]:
    """Choose the runs whose test score counts: of one configuration, the latest run of each seed.

    An extended study may have confirmed an earlier best, too. Averaging over both would describe neither. While the
    present best has no test score, the latest configuration that has one is reported.

    Returns:
        The runs, by replicate and seed; whether they are of the configuration that the study chose; the number of other
        confirmed runs with a test score.
    """
    ended = [run for run in cell.runs if run.phase not in SEARCH and run.status == RunStatus.OK]
    scored = [run for run in ended if run.metric("test", cell.metric) is not None]
    done = sorted(
        [run for run in scored if run.phase == Phase.CONFIRM] or scored, key=lambda run: run.record.started or ""
    )
    if not done:
        return [], False, 0
    of_choice = {id(run) for run in counted}
    own = [run for run in done if id(run) in of_choice or run.phase == Phase.SINGLE]
    members = own or [run for run in done if run.record.hyperparameters == done[-1].record.hyperparameters]
    by_place = {place_of(run.record): run for run in members}
    return [by_place[place] for place in sorted(by_place)], bool(own), len(done) - len(by_place)


def _status(cell: Cell, counted: Sequence[Run], ok: int, wanted: int | None) -> CellOutcome:
    """Return what is known of a cell.

    Args:
        cell: the cell and its runs.
        counted: the confirmations of its configuration.
        ok: number of confirmed runs with a test score.
        wanted: number of seeds; None if unknown.
    """
    runs = cell.runs
    if not runs and cell.unreadable:
        return CellOutcome.FAILED
    busy = any(run.status == RunStatus.RUNNING for run in runs)
    scored = any(run.status in (RunStatus.OK, RunStatus.PRUNED) for run in runs)
    asked = wanted if wanted is not None and any(run.phase != Phase.SINGLE for run in runs) else 1
    over = bool(runs) and (not scored or any(run.phase not in SEARCH for run in runs))
    found = state(
        over=over, busy=busy, begun=bool(runs), worked=scored,
        ended=sum(run.status != RunStatus.RUNNING for run in counted), ok=ok, wanted=asked,
    )  # fmt: skip
    failed = sum(run.status in (RunStatus.FAILED, RunStatus.LOST) for run in counted)
    return result(found, busy=busy, ok=ok, failed=failed, wanted=asked)


def _error(failures: list[Run], unreadable: int) -> str | None:
    errors = Counter(run.record.error or f"{run.status}, without a message" for run in failures)
    if errors:
        return errors.most_common(1)[0][0]
    return f"{unreadable} unreadable record{'s' if unreadable > 1 else ''}" if unreadable else None


def _rank(row: CellSummary) -> tuple[str, bool, float, bool, float, str]:
    test, val = row.test_mean, row.val_best
    return (
        row.cell.task,
        test is None,
        -row.better(test) if test is not None else 0.0,
        val is None,
        -row.better(val) if val is not None else 0.0,
        row.cell.id,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
