"""From what the parts of a run take to what a study takes: runs added up, and their order on the workers replayed."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.design.prepared_cell import PreparedCell

if TYPE_CHECKING:
    from harness.runs.calibration import Rates

RUN_SECONDS = 0.15  # of a run besides what is measured: its files, the hand-over
RUN_BYTES = 12_000  # config, record, metrics and log


@dataclass
class Cost:
    """What the runs of a cell take.

    Attributes:
        tune, confirm: seconds of a run on a warm worker.
        load: seconds more of a worker's first run with the cell's backbone.
        first: seconds more of a worker's first run of the cell.
        features: seconds that the study's first run pays for frozen features, by what they are of.
        save: seconds more where the adapted model is kept.
        peak_memory_mb: of a worker.
        run_bytes, model_bytes: on disk, of a confirmation and of a kept model.
        source: how this is known.
        spread: (low, high): what the outcome may be, in multiples.
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
    """What a cell's runs take, from what was measured of their parts.

    Args:
        ready: the cell.
        rates: measured.
        cached: whether its frozen features lie in the cache already.
    """
    rows, train = rows_of(ready), ready.base["train"]
    trains = "train" not in (ready.base["method"].get("ignores") or ())
    folds = int(ready.base["task"].get("folds") or 0) if ready.facts.get("validation") == "kfold" else 0
    epochs = min(int(train["epochs"]), int(train.get("stop_epoch") or train["epochs"]))
    fit = rates.fit_row * rows["train"]
    if trains:
        share = (folds - 1) / folds if folds else 1.0
        judged = rows["train"] / folds if folds else rows["validation"]
        once = rates.start + epochs * (rates.train_row * rows["train"] * share + rates.judge_row * judged)
        tune = max(1, folds) * once
        confirm = rates.start + epochs * (rates.train_row * rows["train"] + rates.judge_row * rows["validation"])
        confirm += rates.judge_row * rows["test"]
        first = rates.first + fit * max(1, folds)  # a worker remembers the head that it has fitted
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
    """Rows of each split of a cell's data."""
    rows: dict[str, int] = ready.facts["rows"]
    return {name: int(rows.get(name) or 0) for name in ("train", "validation", "test")}


def predictions_bytes(ready: PreparedCell) -> int:
    """Bytes that a confirmation's predictions take, about: floats hardly compress."""
    rows = rows_of(ready)
    classes = int(ready.facts.get("classes") or 2)
    return RUN_BYTES + (rows["validation"] + rows["test"]) * (4 * classes + 16)


@dataclass(frozen=True)
class Workload:
    """What is left to do of a cell.

    Attributes:
        ready: the cell.
        cost: of its runs.
        trials, seeds: runs that are left.
        saves: models that are kept.
    """

    ready: PreparedCell
    cost: Cost
    trials: int
    seeds: int
    saves: int = 1

    @property
    def backbone(self) -> tuple[str, str]:
        """What a worker loads once: data and weights."""
        return self.ready.fingerprint, self.ready.model_digest


@dataclass
class _State:
    """How far a cell is in the replay."""

    started: int = 0
    tuned_at: float = 0.0  # when the last trial that has begun ends


def replay(works: Sequence[Workload], workers: int) -> tuple[float, list[float]]:
    """Replay the order of the runs: the cell that has had the fewest comes first; confirmations wait for all trials.

    Args:
        works: the cells.
        workers: runs that execute at once.

    Returns:
        Wall seconds of the runs, and the seconds of each cell's runs added up.
    """
    states = [_State() for _ in works]
    loaded: set[tuple[int, Any]] = set()
    features: dict[tuple[Any, str], float] = {}  # when they will be there
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    totals = [0.0] * len(works)
    end = 0.0
    while any(state.started < work.trials + work.seeds for state, work in zip(states, works, strict=True)):
        now, worker = heapq.heappop(free)
        index = _next(works, states, now)
        if index is None:  # it waits for the trials of others
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
    """Seconds of a cell's next run, what it pays for others included."""
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
        if now < there:  # whoever comes meanwhile computes them, too
            seconds += more
    if confirms and number - work.trials < work.saves:
        seconds += cost.save
    return seconds
