"""Cost estimates from earlier runs of any study, with the same model and method, on the same kind of machine."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

from harness.config.kinds import signed
from harness.design.prepared_cell import PreparedCell
from harness.planning.capacity import ComputeTarget
from harness.planning.estimate import RUN_SECONDS, Cost, predictions_bytes, rows_of
from harness.records.record import CorruptRecord, Record
from harness.records.run_totals import ONCE
from harness.records.signature import OPERATIONAL, digest, ignored_keys, without
from harness.records.states import Phase, RunStatus
from harness.records.study_files import RUNS, RunPaths, recorded

LOOKED_AT = 60  # newest records that are used per cell
LEAST = 3  # records needed for an estimate; few, as a cell that tunes nothing has only one trial
SIMILAR = 4.0  # largest factor between the rows of this and of another draw of the task


def from_records(ready: PreparedCell, runs_dir: Path, place: ComputeTarget, any_task: bool) -> Cost | None:
    """Estimate the cost of a cell's runs from the records of earlier runs; None if there are too few.

    Args:
        ready: the cell.
        runs_dir: the directory of studies.
        place: where the runs will compute.
        any_task: whether runs of other tasks count, too; their times are scaled by rows and epochs.
    """
    found = _find(ready, runs_dir, place)
    same = [each for each in found if each.data.get("fingerprint") == ready.fingerprint]
    rows = rows_of(ready)["train"]
    task = [each for each in found if each.task == ready.cell.task and 1 / SIMILAR <= _rows(each) / rows <= SIMILAR]
    for records, source, spread in (
        (same, "past runs", (0.8, 1.25)),
        (task, "past runs of the task", (0.7, 1.4)),
        (found if any_task else [], "past runs of other tasks", (0.5, 2.0)),
    ):
        tuned = [each for each in records if each.phase == Phase.TUNE]
        confirmed = [each for each in records if each.phase == Phase.CONFIRM]
        if tuned and confirmed and len(records) >= LEAST:
            return _cost(ready, tuned, confirmed, source, spread)
    return None


def _cost(
    ready: PreparedCell, tuned: list[Record], confirmed: list[Record], source: str, spread: tuple[float, float]
) -> Cost:
    records = [*tuned, *confirmed]
    warm = {name: statistics.median(each.cost.get(name) or 0.0 for each in records) for name in ONCE}
    extra = sorted(sum(max(0.0, (each.cost.get(name) or 0.0) - warm[name]) for name in ONCE) for each in records)
    tune = statistics.median(_scaled(ready, each, warm) for each in tuned)
    confirm = statistics.median(_scaled(ready, each, warm) for each in confirmed)
    saves = [each.cost.get("save_seconds") or 0.0 for each in confirmed]
    count = len(records)
    return Cost(
        tune=tune + RUN_SECONDS, confirm=confirm + RUN_SECONDS, load=extra[-1], save=max(saves) - min(saves),
        peak_memory_mb=max((each.cost["peak_memory_mb"] for each in records if each.cost.get("peak_memory_mb")),
                           default=None),
        run_bytes=predictions_bytes(ready),
        model_bytes=max(int(each.cost.get("saved_bytes") or 0) for each in records),
        source=f"{source} ({count})", spread=spread,
    )  # fmt: skip


def _scaled(ready: PreparedCell, record: Record, warm: Mapping[str, float]) -> float:
    """Return the seconds of an earlier run, scaled to this cell's rows and epochs on a warm worker."""
    cost, rows = record.cost, rows_of(ready)
    seconds = float(cost["total_seconds"]) - sum((cost.get(name) or 0.0) - warm[name] for name in ONCE)
    trained = cost.get("samples") if "steps" in cost else None
    if not trained:  # a head on frozen features: its fit scales with the rows
        return seconds * max(1.0, rows["train"] / max(1.0, _rows(record)))
    train = ready.base["train"]
    epochs = min(int(train["epochs"]), int(train.get("stop_epoch") or train["epochs"]))
    folds = int(ready.base["task"].get("folds") or 0) if ready.facts.get("validation") == "kfold" else 0
    passes = epochs * (folds - 1 if folds and record.phase == Phase.TUNE else 1)
    factor = rows["train"] * passes / float(trained)
    net = (cost.get("train_seconds") or 0.0) + (cost.get("evaluate_seconds") or 0.0)
    return seconds + (factor - 1) * net


def _find(ready: PreparedCell, runs_dir: Path, place: ComputeTarget) -> list[Record]:
    """Return the newest `ok` records with the cell's model, method and configuration, on the same kind of machine."""
    cell = ready.cell
    cells = f"*.{escape(cell.model)}.{escape(cell.method)}*"
    paths = (run.record for study in runs_dir.glob(f"*/{RUNS}") for run in recorded(study, cells))
    newest = sorted(((path.stat().st_mtime, path) for path in paths), reverse=True)[: 4 * LOOKED_AT]
    wanted = _alike(ready.base, ready)
    known: dict[Path, bool] = {}  # by cell directory: its runs differ only in tuned keys
    found = []
    for _, path in newest:
        with suppress(CorruptRecord):
            record = Record.read(path)
            if record is None or not _fits(record, ready, place):
                continue
            if path.parent.parent not in known:
                known[path.parent.parent] = _alike(RunPaths(path.parent).read_config(), ready) == wanted
            if known[path.parent.parent]:
                found.append(record)
        if len(found) == LOOKED_AT:
            break
    return found


def _fits(record: Record, ready: PreparedCell, place: ComputeTarget) -> bool:
    cost, facts = record.cost, record.provenance
    return (
        record.status == RunStatus.OK
        and record.method == ready.cell.method
        and facts.get("model_digest") == ready.model_digest
        and cost.get("total_seconds") is not None
        and cost.get("device") == place.device
        and place.device_name in (None, facts.get("device_name"))
        and (place.device != "cpu" or cost.get("threads") == place.threads)
    )


def _alike(config: Mapping[str, Any], ready: PreparedCell) -> str:
    """Return the digest of the configuration keys that must be equal for runs to be comparable."""
    schedule = ("train.epochs", "train.stop_epoch")
    task = config.get("task") or {}
    # Masks take little of a run's time, so earlier runs tell how long one takes.
    ignored = (*OPERATIONAL, *ignored_keys(config), *ready.cell.space, *schedule, "task", "seed", "train.dropout_masks")
    return digest([without(signed(config), ignored), task.get("max_length")])


def _rows(record: Record) -> float:
    return float((record.data.get("rows") or {}).get("train") or 0.0)
