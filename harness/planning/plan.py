"""`plan=true`: print a study's runs and estimated cost; plan.json: the estimate that a study keeps."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.config.schema import Config, TuneConfig
from harness.design import study_file
from harness.design.prepared_cell import PreparedCell, cache_dir
from harness.design.search_space import planned_trials
from harness.planning.capacity import described, gpu_share, memory_limit, place, slot_rate, workers
from harness.planning.estimate import Cost, Workload, replay
from harness.planning.from_calibration import START_SECONDS, calibrate, idle
from harness.planning.from_history import from_records
from harness.planning.plan_table import print_estimate, print_runs
from harness.records.files import now, write_json
from harness.records.record import CorruptRecord, Record
from harness.records.signature import digest
from harness.records.states import RunStatus
from harness.records.study_files import StudyPaths
from harness.search.joint import groups


def show_plan(
    console: Console,
    name: str,
    directory: Path,
    ready: Sequence[PreparedCell],
    seeds: tuple[int, ...],
    config: Config,
    began: float,
) -> None:
    """Print the runs of a study and what they would take; keep the estimate for the start of the study.

    Args:
        console: where to print.
        name, directory: of the study.
        ready: its cells.
        seeds: of the confirmations.
        config: its configuration.
        began: `time.monotonic()` when the command began.
    """
    setup = time.monotonic() - began
    print_runs(console, name, directory, ready, seeds, config)
    costs = _from_records(ready, config)
    unknown = [each for each in ready if each.cell.id not in costs]
    busy = bool(unknown) and not idle()
    start = START_SECONDS
    if unknown and not config.calibrate:
        console.print(
            "No estimate: nothing is known of these cells yet, and calibrate=false forbids measuring.", soft_wrap=True
        )
        return
    if unknown and config.launch.kind != "slurm":
        which = "All cells" if len(unknown) == len(ready) else ", ".join(each.cell.id for each in unknown)
        with console.status(f"Measuring on a slice of the data, a few seconds each: {which} ..."):
            measured, start, failed = calibrate(unknown, config)
        costs |= measured
        for cell, reason in failed.items():
            console.print(f"[yellow]Not measured:[/yellow] {cell}: {escape(reason)}", soft_wrap=True)
    still = [each.cell.id for each in ready if each.cell.id not in costs]
    if still:
        console.print(
            f"No estimate: nothing is known of {', '.join(still)}. "
            + (
                "Jobs of a cluster run elsewhere, so they are not measured here; runs of this model and method in "
                f"{config.runs_dir} will tell. Start the study with tune.trials=2 confirm.seeds=1 under a name of its "
                "own, and plan again."
                if config.launch.kind == "slurm"
                else "The first run will say why."
            ),
            soft_wrap=True,
        )
        return
    plan = _estimate(directory, ready, seeds, config, costs, setup + start)
    print_estimate(console, plan, config)
    if busy and config.launch.kind != "slurm":
        console.print(
            "[yellow]Note:[/yellow] other work keeps this machine busy, and slowed what was measured: the estimate "
            "holds while that lasts.",
            soft_wrap=True,
        )
    if not plan["done"]:
        with suppress(OSError):
            price = described(config)
            write_json(_kept(ready, seeds, config, price), plan)
            if price is not None:  # also keep it for a start without a price
                write_json(_kept(ready, seeds, config, None), _without_price(plan))


def keep_plan(directory: Path, ready: Sequence[PreparedCell], seeds: tuple[int, ...], config: Config) -> None:
    """Write plan.json of a study that starts: the estimate of the last `plan=true` of the same study, or of past runs.

    Nothing is measured, so the start is not delayed. A study that has begun keeps the estimate that it began with.
    """
    paths = StudyPaths(directory)
    path = paths.plan
    if next(paths.recorded(), None) is not None:
        return
    path.unlink(missing_ok=True)
    with suppress(OSError, ValueError):
        write_json(path, json.loads(_kept(ready, seeds, config, described(config)).read_text(encoding="utf-8")))
        return
    costs = _from_records(ready, config)
    if len(costs) == len(ready):
        write_json(path, _estimate(directory, ready, seeds, config, costs, START_SECONDS))


def _without_price(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {**plan, "dollars": None, "cells": [{**cell, "dollars": None} for cell in plan["cells"]]}


def _kept(
    ready: Sequence[PreparedCell], seeds: tuple[int, ...], config: Config, price: Mapping[str, Any] | None
) -> Path:
    """Return the cache file that keeps the estimate of a study, at a price, until the study starts."""
    content = {
        "cells": {each.cell.id: study_file.cell_identity(each) for each in ready},
        "tune": [study_file.search_identity(config.tune), config.tune.trials, config.tune.seconds],
        "seeds": list(seeds),
        "tunings": config.confirm.tunings,
        "launch": [config.launch.kind, config.device, *workers(config)],
        "price": price,
        "keep": config.keep,
    }
    return cache_dir({"cache_dir": config.cache_dir}) / "plans" / f"{digest(content)[:32]}.json"


def _from_records(ready: Sequence[PreparedCell], config: Config) -> dict[str, Cost]:
    slurm = config.launch.kind == "slurm"
    found = {each.cell.id: from_records(each, Path(config.runs_dir), place(each.base, config), slurm) for each in ready}
    return {cell: cost for cell, cost in found.items() if cost is not None}


def _estimate(
    directory: Path,
    ready: Sequence[PreparedCell],
    seeds: tuple[int, ...],
    config: Config,
    costs: Mapping[str, Cost],
    before: float,
) -> dict[str, Any]:
    """Return the content of plan.json.

    Args:
        directory: of the study.
        ready: its cells.
        seeds: of the confirmations.
        config: its configuration.
        costs: the cost of the runs of each cell.
        before: wall seconds until the first run begins.
    """
    done = _done(directory)
    shares = _shares(ready, seeds, config, costs)
    works = [_work(each, costs[each.cell.id], *shares[each.cell.id], config, done) for each in ready]
    runs = sum(work.trials + work.seeds for work in works)
    count = max(1, min(workers(config)[0], runs))
    replayed, totals = replay(works, count)
    wall = before + replayed
    held_each = gpu_share(config, count)
    rates: list[float | None] = [slot_rate(config, each.base, held_each) for each in ready]
    held = None if config.launch.kind == "slurm" or None in rates else wall * count * max(rate or 0 for rate in rates)
    paid = [None if rate is None else round(seconds * rate, 6) for seconds, rate in zip(totals, rates, strict=True)]
    cells = [
        {
            "id": work.ready.cell.id, "trials": work.trials, "confirmations": work.seeds, "seconds": round(seconds, 3),
            "dollars": dollars_, "peak_memory_mb": work.cost.peak_memory_mb,
            "disk_bytes": (work.trials + work.seeds) * work.cost.run_bytes + work.saves * work.cost.model_bytes,
            "source": work.cost.source,
        }
        for work, seconds, dollars_ in zip(works, totals, paid, strict=True)
    ]  # fmt: skip
    spent = sum(totals)
    weights = [seconds / spent if spent else 1 / len(works) for seconds in totals]
    low, high = (
        sum(work.cost.spread[end] * weight for work, weight in zip(works, weights, strict=True)) for end in (0, 1)
    )
    dollars = held if held is not None else _sum(paid)
    return {
        "made": now(),
        "runs": runs,
        "done": sum(done.values()),
        "workers": count,
        "wall_seconds": round(wall, 3),
        "low": round(low * wall, 3),
        "high": round(high * wall, 3),
        "run_seconds": round(spent, 3),
        "dollars": None if dollars is None else round(dollars, 6),
        "peak_memory_mb": max((cell["peak_memory_mb"] or 0.0 for cell in cells), default=0.0) or None,
        "memory_limit_mb": memory_limit(config, ready),
        "disk_bytes": sum(cell["disk_bytes"] for cell in cells),
        "cells": cells,
    }


def _shares(
    ready: Sequence[PreparedCell], seeds: tuple[int, ...], config: Config, costs: Mapping[str, Cost]
) -> dict[str, tuple[TuneConfig, tuple[int, ...]]]:
    """Return the tuning budget and the seeds of each cell.

    How a joint study distributes its trials is unknown: assume equal parts, and confirmation of the slowest methods.
    """
    if config.tune.mode != "joint":
        return {each.cell.id: (config.tune, seeds) for each in ready}
    shares: dict[str, tuple[TuneConfig, tuple[int, ...]]] = {}
    for group in groups([each.cell for each in ready]):
        trials, seconds, size = config.tune.trials, config.tune.seconds, len(group)
        tune = replace(
            config.tune,
            trials=None if trials is None else max(1, -(-trials // size)),
            seconds=None if seconds is None else seconds / size,
        )
        slowest = sorted(group, key=lambda cell: -costs[cell.id].confirm)[: config.tune.finalists]
        shares |= {cell.id: (tune, seeds if cell in slowest else ()) for cell in group}
    return shares


def _work(
    each: PreparedCell,
    cost: Cost,
    tune: TuneConfig,
    seeds: tuple[int, ...],
    config: Config,
    done: Counter[tuple[str, str]],
) -> Workload:
    """Return the remaining runs of a cell."""
    trials = planned_trials(each.cell.space, tune)
    if tune.seconds is not None:
        by_time = max(1, -int(-tune.seconds // cost.tune))
        trials = by_time if trials is None else min(trials, by_time)
    trials = (trials or 1) * config.confirm.tunings
    left = max(0, trials - done[each.cell.id, "tune"])
    # Further trials may select another configuration, which needs new confirmations.
    confirmed = 0 if left else min(len(seeds), done[each.cell.id, "confirm"])
    saves = {"all": len(seeds), "best": int(not confirmed), "none": 0}[config.keep]
    return Workload(each, cost, left, len(seeds) - confirmed, saves)


def _done(directory: Path) -> Counter[tuple[str, str]]:
    """Count the ended runs of a study by cell and phase."""
    ended: Counter[tuple[str, str]] = Counter()
    for paths in StudyPaths(directory).recorded():
        with suppress(CorruptRecord):
            record = Record.read(paths.record)
            if record is not None and record.status != RunStatus.RUNNING:
                ended[record.cell, record.phase] += 1
    return ended


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(value or 0.0 for value in values)
