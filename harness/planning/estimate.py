"""Estimate what a study takes from the cost of its runs, by simulating their order on the workers."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.design.prepared_cell import PreparedCell

if TYPE_CHECKING:
    from harness.runs.calibration import Rates

RUN_SECONDS = 0.15  # seconds of a run that are not measured: writing its files, handing it to a worker
RUN_BYTES = 12_000  # bytes of config, record, metrics and log


@dataclass
class Cost:
    """The cost of the runs of a cell.

    Attributes:
        tune, confirm: seconds of a trial and of a confirmation on a warm worker.
        load: additional seconds of a worker's first run with the cell's backbone.
        first: additional seconds of a worker's first run of the cell.
        features: seconds that the study's first run needs for frozen features, by split.
        save: additional seconds if the adapted model is saved.
        peak_memory_mb: peak memory of a worker in MiB.
        run_bytes, model_bytes: bytes on disk of a confirmation and of a saved model.
        source: where the estimate comes from.
        spread: (low, high), the range of the actual cost as multiples of the estimate.
    """

    tune: float
    confirm: float
    load: float = 0.0
    first: float = 0.0
    features: dict[str, float] = field(default_factory=dict)
    save: float = 0.0
    peak_memory_mb: float | None = None
    run_bytes: int = 0
    model_bytes: int = 0
    source: str = ""
    spread: tuple[float, float] = (0.8, 1.25)


def from_rates(ready: PreparedCell, rates: Rates, cached: bool) -> Cost:
    """Estimate the cost of a cell's runs from measured rates.

    Args:
        ready: the cell.
        rates: the measured rates.
        cached: whether the cell's frozen features are in the cache already.
    """
    rows, train = rows_of(ready), ready.base["train"]
    trains = "train" not in (ready.base["method"].get("ignores") or ())
    folds = int(ready.base["task"].get("folds") or 0) if ready.facts.get("validation") == "kfold" else 0
    epochs = min(int(train["epochs"]), int(train.get("stop_epoch") or train["epochs"]))
    fit = rates.fit_row * rows["train"]
    if trains:
        share = (folds - 1) / folds if folds else 1.0
        judged = rows["train"] / folds if folds else rows["validation"]
        once = rates.start + epochs * (rates.train_row * rows["train"] * share + rates.evaluate_row * judged)
        tune = max(1, folds) * once
        confirm = rates.start + epochs * (rates.train_row * rows["train"] + rates.evaluate_row * rows["validation"])
        confirm += rates.evaluate_row * rows["test"]
        first = rates.first + fit * max(1, folds)  # a worker caches the head that it has fitted
    else:
        tune = fit * max(1, folds)
        confirm, first = fit, rates.first
    features: dict[str, float] = {}
    if not cached:
        reads = {"train": rows["train"]} if rates.feature_row else {}
        if not trains:
            reads |= {"validation": rows["validation"], "test": rows["test"]}
        features = {name: rates.feature_row * count * (folds or 1) for name, count in reads.items()}
    return Cost(
        tune=tune + RUN_SECONDS, confirm=confirm + rates.serve + RUN_SECONDS, load=rates.load, first=first,
        features=features, save=rates.save, peak_memory_mb=rates.peak_memory_mb, run_bytes=predictions_bytes(ready),
        model_bytes=rates.saved_bytes, source="test runs",
    )  # fmt: skip


def rows_of(ready: PreparedCell) -> dict[str, int]:
    """Return the number of rows of each split of a cell's data."""
    rows: dict[str, int] = ready.facts["rows"]
    return {name: int(rows.get(name) or 0) for name in ("train", "validation", "test")}


def predictions_bytes(ready: PreparedCell) -> int:
    """Estimate the bytes on disk of a confirmation, with its predictions: floats hardly compress."""
    rows = rows_of(ready)
    classes = int(ready.facts.get("classes") or 2)
    return RUN_BYTES + (rows["validation"] + rows["test"]) * (4 * classes + 16)


@dataclass(frozen=True)
class Workload:
    """The remaining runs of a cell.

    Attributes:
        ready: the cell.
        cost: the cost of its runs.
        trials, seeds: numbers of remaining trials and confirmations.
        saves: number of models that are saved.
    """

    ready: PreparedCell
    cost: Cost
    trials: int
    seeds: int
    saves: int = 1

    @property
    def backbone(self) -> tuple[str, str]:
        """The data and weights that a worker loads once."""
        return self.ready.fingerprint, self.ready.model_digest


@dataclass
class _State:
    """The progress of a cell in the simulation."""

    started: int = 0
    tuned_at: float = 0.0  # when the last of the begun trials ends


def replay(works: Sequence[Workload], workers: int) -> tuple[float, list[float]]:
    """Simulate the order of the runs: the cell with the fewest started runs comes first.

    The confirmations of a cell wait for all of its trials.

    Args:
        works: the remaining runs of each cell.
        workers: runs that execute at once.

    Returns:
        Wall seconds of all runs, and for each cell the sum of the seconds of its runs.
    """
    states = [_State() for _ in works]
    loaded: set[tuple[int, Any]] = set()
    features: dict[tuple[Any, str], float] = {}  # when each will be in the cache
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    totals = [0.0] * len(works)
    end = 0.0
    while any(state.started < work.trials + work.seeds for state, work in zip(states, works, strict=True)):
        now, worker = heapq.heappop(free)
        index = _next(works, states, now)
        if index is None:  # the worker idles until trials under way on other workers end
            later = min(moment for moment, _ in free) if free else now
            waits = [state.tuned_at for state in states if state.tuned_at > now]
            heapq.heappush(free, (min([*waits, *([later] if later > now else [])]), worker))
            continue
        work, state = works[index], states[index]
        seconds = _seconds(work, state.started, now, worker, loaded, features)
        state.started += 1
        if state.started <= work.trials:
            state.tuned_at = max(state.tuned_at, now + seconds)
        totals[index] += seconds
        end = max(end, now + seconds)
        heapq.heappush(free, (now + seconds, worker))
    return end, totals


def _next(works: Sequence[Workload], states: Sequence[_State], now: float) -> int | None:
    for index in sorted(range(len(works)), key=lambda index: states[index].started):
        state, work = states[index], works[index]
        if state.started < work.trials:
            return index
        if state.started < work.trials + work.seeds and state.tuned_at <= now:
            return index
    return None


def _seconds(
    work: Workload,
    number: int,
    now: float,
    worker: int,
    loaded: set[tuple[int, Any]],
    features: dict[tuple[Any, str], float],
) -> float:
    """Return the seconds of a cell's next run, including work that later runs reuse."""
    cost, confirms = work.cost, number >= work.trials
    seconds = cost.confirm if confirms else cost.tune
    for key, more in (((worker, work.backbone), cost.load), ((worker, work.ready.cell.id), cost.first)):
        if key not in loaded:
            loaded.add(key)
            seconds += more
    for name, more in cost.features.items():
        if name == "test" and not confirms:
            continue
        there = features.setdefault((work.backbone, name), now + seconds + more)
        if now < there:  # runs that start before they are cached compute them, too
            seconds += more
    if confirms and number - work.trials < work.saves:
        seconds += cost.save
    return seconds
