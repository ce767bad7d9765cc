"""A cell's runs, aggregated to one row of the table."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.metrics import METRICS
from harness.record import Record, digest
from harness.report.load import Cell, Study
from harness.report.prices import dollars

# The costs of a record that a row gives by name.
COSTS = (
    "train_seconds", "total_seconds", "core_seconds", "accelerator_seconds", "energy_joules", "saved_bytes",
    "latency_p50_seconds", "latency_p95_seconds", "throughput_per_second",
)  # fmt: skip
TUNE_COSTS = ("total_seconds", "core_seconds", "accelerator_seconds", "energy_joules")


@dataclass(frozen=True)
class Row:
    """What is known of a cell. Metrics are fractions; what is not known is None.

    Attributes:
        seeds, test_values: the confirmed seeds and their test metric, in the order of the seeds. Single runs count as
            confirmed: they meet the test split too.
        test_std: sample standard deviation over seeds (ddof 1); None below two seeds.
        val_best: best validation metric among the tuning runs (without any: mean over the confirmed runs).
        best_trial: the run that `val_best` belongs to; None without one.
        trials: tuning runs that have ended.
        failed: failed and lost runs of every phase; `lost` counts the lost ones of them.
        pruned: runs that were ended early for their poor scores.
        costs: means over the confirmed runs, by the names in `COSTS` and `dollars`; what is not known is absent.
        tune_costs: sums over the tuning runs, by the names in `TUNE_COSTS` and `dollars`; what is not known of a run
            that gave its seconds is absent.
        status: ok | partial | failed | running | not started.
        error: most frequent error of the failed runs.
        evaluated: records of the confirmed runs that `test_values` come from.
        superseded: confirmed runs that do not count, because their hyperparameters are no longer the chosen ones.
    """

    cell: Cell
    minimise: bool
    seeds: tuple[int, ...]
    test_values: tuple[float, ...]
    test_mean: float | None
    test_std: float | None
    val_best: float | None
    best_trial: Record | None
    trials: int
    failed: int
    running: int
    params_trainable: int | None
    params_total: int | None
    tune_seconds: float | None
    train_seconds: float | None
    peak_memory_mb: float | None
    hyperparameters: dict[str, Any]
    status: str
    error: str | None
    evaluated: tuple[Record, ...]
    superseded: int
    pruned: int = 0
    lost: int = 0
    costs: dict[str, float] = field(default_factory=dict)
    tune_costs: dict[str, float] = field(default_factory=dict)

    @property
    def question(self) -> tuple[str, str, str]:
        """What rows must share to be compared: task, the task's own axes (e.g. shots), and metric."""
        axes = " ".join(f"{key}={value}" for key, value in self.cell.variant.items() if key.startswith("task."))
        return self.cell.task, axes, self.cell.metric

    def better(self, value: float) -> float:
        """Turn a metric into a score of which more is better."""
        return -value if self.minimise else value


def rows(study: Study) -> list[Row]:
    """Aggregate every cell; by task, then best first, then cells without a test score by validation score."""
    seeds = _mapping(study.sweep.get("confirm")).get("seeds")
    wanted = len(seeds) if isinstance(seeds, list) else seeds if isinstance(seeds, int) else None
    hardware = _mapping(study.sweep.get("hardware"))
    return sorted((_row(cell, wanted, hardware) for cell in study.cells), key=_rank)


def number(value: Any) -> float | None:
    """Give a finite number as a float, anything else as None."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def mean_std(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Give mean and sample standard deviation; None for what too few values leave open."""
    known = list(values)
    mean = statistics.fmean(known) if known else None
    return mean, statistics.stdev(known) if len(known) > 1 else None


def metric(record: Record, split: str, name: str) -> float | None:
    """Look up a metric of a run; None if the run has none."""
    return number(record.metrics.get(split, {}).get(name))


def facts(record: Record) -> dict[str, Any]:
    """Give the facts counted about a run's data, warnings and fingerprint included."""
    nested = record.data.get("facts")
    return {**{key: value for key, value in record.data.items() if key != "facts"}, **_mapping(nested)}


def _row(cell: Cell, wanted: int | None, hardware: Mapping[str, Any]) -> Row:
    records = [run.record for run in cell.runs]
    known = METRICS[cell.metric].direction if cell.metric in METRICS else "maximize"
    minimise = (cell.direction or known) == "minimize"
    tuned = [record for record in records if record.phase == "tune"]
    best, best_value = _best_trial(cell, tuned, minimise)
    evaluated, superseded = _evaluated(cell, records, best)
    test = [value for record in evaluated if (value := metric(record, "test", cell.metric)) is not None]
    if best_value is None:
        best_value, _ = mean_std(v for record in evaluated if (v := metric(record, "val", cell.metric)) is not None)
    chosen = evaluated[0] if evaluated else best
    with_cost = evaluated or ([best] if best else records)
    failures = [record for record in records if record.status in ("failed", "lost")]
    running = sum(record.status == "running" for record in records)
    mean, std = mean_std(test)
    return Row(
        cell=cell,
        minimise=minimise,
        seeds=tuple(record.seed for record in evaluated),
        test_values=tuple(test),
        test_mean=mean,
        test_std=std,
        val_best=best_value,
        best_trial=best,
        trials=sum(record.status != "running" for record in tuned),
        failed=len(failures),
        running=running,
        params_trainable=_whole(_first(with_cost, "params_trainable")),
        params_total=_whole(_first(with_cost, "params_total")),
        tune_seconds=_total(tuned, "total_seconds"),
        train_seconds=mean_std(_costs(evaluated, "train_seconds"))[0],
        peak_memory_mb=max(_costs(records, "peak_memory_mb"), default=None),
        hyperparameters=dict(sorted(chosen.hyperparameters.items())) if chosen else {},
        status=_status(records, len(test), running, wanted, cell.unreadable),
        error=_error(failures, cell.unreadable),
        evaluated=tuple(evaluated),
        superseded=superseded,
        pruned=sum(record.status == "pruned" for record in records),
        lost=sum(record.status == "lost" for record in records),
        costs=_mean_costs(evaluated, hardware),
        tune_costs=_tune_costs(tuned, hardware),
    )


def _best_trial(cell: Cell, tuned: list[Record], minimise: bool) -> tuple[Record | None, float | None]:
    done = (record for record in tuned if record.status == "ok")
    scored = [(record, value) for record in done if (value := metric(record, "val", cell.metric)) is not None]
    if not scored:
        return None, None
    return min(scored, key=lambda pair: pair[1] if minimise else -pair[1])


def _evaluated(cell: Cell, records: list[Record], best: Record | None) -> tuple[list[Record], int]:
    """Choose the runs whose test score counts: of one configuration, each seed once (the latest).

    A study that was extended may have confirmed an earlier best too. Averaging over both would describe neither.
    """
    scored = [record for record in records if record.status == "ok" and metric(record, "test", cell.metric) is not None]
    done = [record for record in scored if record.phase == "confirm"]
    told = [record for record in done if record.signature in cell.chosen]
    if told:
        return sorted(told, key=lambda record: record.seed), len(done) - len(told)
    done = done or [record for record in scored if record.phase == "single"]
    done.sort(key=lambda record: record.started or "")
    if not done:
        return [], 0
    configurations = {digest(record.hyperparameters) for record in done}
    chosen = digest(best.hyperparameters) if best else ""
    if chosen not in configurations:
        chosen = digest(done[-1].hyperparameters)
    by_seed = {record.seed: record for record in done if digest(record.hyperparameters) == chosen}
    return [by_seed[seed] for seed in sorted(by_seed)], len(done) - len(by_seed)


def _status(records: list[Record], confirmed: int, running: int, wanted: int | None, unreadable: int) -> str:
    if running:
        return "running"
    if not records:
        return "failed" if unreadable else "not started"
    asked = wanted if wanted is not None and any(record.phase != "single" for record in records) else 1
    if confirmed >= asked:
        return "ok"
    if confirmed:
        return "partial"
    gave_up = any(record.phase == "confirm" and record.status in ("failed", "lost") for record in records)
    scored = any(record.status in ("ok", "pruned") for record in records)
    return "partial" if scored and not gave_up else "failed"


def _error(failures: list[Record], unreadable: int) -> str | None:
    errors = Counter(record.error or f"{record.status}, without a message" for record in failures)
    if errors:
        return errors.most_common(1)[0][0]
    return f"{unreadable} unreadable record{'s' if unreadable > 1 else ''}" if unreadable else None


def _rank(row: Row) -> tuple[str, bool, float, bool, float, str]:
    test, val = row.test_mean, row.val_best
    return (
        row.cell.task,
        test is None,
        -row.better(test) if test is not None else 0.0,
        val is None,
        -row.better(val) if val is not None else 0.0,
        row.cell.id,
    )


def _costs(records: Iterable[Record], name: str) -> list[float]:
    return [value for record in records if (value := number(record.cost.get(name))) is not None]


def _total(records: Iterable[Record], name: str) -> float | None:
    values = _costs(records, name)
    return math.fsum(values) if values else None


def _mean_costs(evaluated: list[Record], hardware: Mapping[str, Any]) -> dict[str, float]:
    means = {name: mean_std(_costs(evaluated, name))[0] for name in COSTS}
    means["dollars"] = mean_std(price for r in evaluated if (price := _dollars(r, hardware)) is not None)[0]
    return {name: mean for name, mean in means.items() if mean is not None}


def _tune_costs(tuned: list[Record], hardware: Mapping[str, Any]) -> dict[str, float]:
    """Add up; a sum that misses a run's part would be taken for the whole."""
    timed = [record for record in tuned if number(record.cost.get("total_seconds")) is not None]
    values = {name: _costs(timed, name) for name in TUNE_COSTS}
    values["dollars"] = [price for record in timed if (price := _dollars(record, hardware)) is not None]
    return {name: math.fsum(known) for name, known in values.items() if timed and len(known) == len(timed)}


def _dollars(record: Record, hardware: Mapping[str, Any]) -> float | None:
    return dollars(
        number(record.cost.get("accelerator_seconds")),
        number(record.cost.get("core_seconds")),
        number(hardware.get("dollars_per_hour")),
        number(hardware.get("cores")),
    )


def _first(records: Iterable[Record], name: str) -> float | None:
    return next(iter(_costs(records, name)), None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
