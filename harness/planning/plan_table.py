"""The output of `plan=true`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.config.schema import FRESH_SEEDS, RERANKED, Config
from harness.design.device_checks import trains
from harness.design.prepared_cell import PreparedCell
from harness.design.search_space import planned_trials
from harness.formatting.values import dollars, duration, memory, plural, size
from harness.launch.run_batching import runs_per_job
from harness.launch.slurm.resources import describe, merge
from harness.planning.capacity import processes_per_gpu, workers
from harness.search.joint import groups

NARROW = 72  # terminal columns below which the table has no column of search spaces


def print_runs(
    console: Console, name: str, directory: Path, ready: Sequence[PreparedCell], seeds: tuple[int, ...], config: Config
) -> None:
    """Print which runs there would be, and where they would execute."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    cluster = config.launch.kind == "slurm"
    wide = console.width >= NARROW  # otherwise the search spaces are printed on separate lines
    for column in ("cell", "trials", "confirmations", *(["tuned"] if wide else [])):
        table.add_column(column, justify="right" if column in ("trials", "confirmations") else "left", overflow="fold")
    total, spaces = 0, list[str]()
    for each in ready:
        trials = planned_trials(each.cell.space, config.tune)
        trials = None if trials is None else trials * config.confirm.tunings
        total += (trials or 0) + len(seeds)
        space = ", ".join(f"{key}={entry.sweep}" for key, entry in each.cell.space.items()) or "nothing"
        numbers = ("by time" if trials is None else str(trials), str(len(seeds)))
        table.add_row(each.cell.id, *numbers, *([escape(space)] if wide else []))
        spaces.append(f"{each.cell.id} tunes {space}")
    console.print(
        f"Plan of study [bold]{name}[/bold] (would be in {escape(str(directory))}); nothing was started.",
        soft_wrap=True,
    )
    console.print(table)
    for line in [] if wide else spaces:
        console.print(escape(line))
    if config.launch.kind == "inline":
        where = "in this process"
    elif cluster:
        each_job = plural(runs_per_job(config.launch), "run")
        where = f"in Slurm jobs of {each_job} each, at most {config.slurm.max_queued} at once"
    else:
        count, threads = workers(config)
        where = f"on {plural(count, 'worker')} with {plural(threads, 'thread')} each"
    if cluster:
        alike: dict[str, list[str]] = {}
        for each in ready:
            alike.setdefault(describe(merge(config.slurm, each.base)), []).append(each.cell.id)
        for resources, cells in alike.items():
            which = "" if len(alike) == 1 else f" of {', '.join(cells)}"
            console.print(f"Each job{which}: {escape(resources)}.", soft_wrap=True)
    if config.tune.mode == "joint":
        counts = [len(group) for group in groups([each.cell for each in ready])]
        total = sum((config.tune.trials or 0) + len(seeds) * min(config.tune.finalists, number) for number in counts)
    at_least = "" if config.tune.trials is not None else "at least "
    console.print(f"{plural(len(ready), 'cell')}, {at_least}{plural(total, 'run')} {where}.")
    for line in _further(ready, config):
        console.print(line, soft_wrap=True)
    if config.tune.mode == "joint":
        console.print(
            "[yellow]Note:[/yellow] tune.mode=joint shares the trials among all methods of a task and model, and "
            f"confirms the best {config.tune.finalists}. Which method gets how many is open: the rows give each "
            "its most, an estimate gives each an equal part and confirms the slowest.",
            soft_wrap=True,
        )


def _further(ready: Sequence[PreparedCell], config: Config) -> Iterator[str]:
    """Say on how many devices runs are trained, what differs between replicates, and what the counts leave out."""
    confirm, tune, devices = config.confirm, config.tune, config.launch.devices_per_run
    if devices > 1:
        methods = dict.fromkeys(each.cell.method for each in ready if trains(each.base))
        every = all(trains(each.base) for each in ready)
        yield (
            f"Each run{'' if every else ' of method=' + ','.join(methods)} is trained on {devices} devices, each with "
            "the whole model and a share of every batch; no runs are fused. Estimates from test runs are those of one "
            "device."
        )
    if len(confirm.labels) > 1:
        what = {
            "tuning": f"the tuning (tune.seed={tune.seed} and following)",
            "draw": "the draw of training rows (task.draw and following)",
        }
        varied = " and ".join(text for name, text in what.items() if name in confirm.vary)
        yield (
            f"{confirm.replicates} replicates of each cell vary {varied}; each has seeds of its own. The counts above "
            "are those of all replicates."
        )
    if tune.select == "rerank":
        yield (
            f"Not counted: the {RERANKED} best trials of each tuning run at {FRESH_SEEDS} more seeds "
            "(tune.select=rerank)."
        )


def print_estimate(console: Console, plan: Mapping[str, Any], config: Config) -> None:
    """Print the estimate, one row per cell; `plan` is the content of plan.json."""
    sources = {_source(cell) for cell in plan["cells"]}
    rows = [
        (
            cell["id"], str(cell["trials"] + cell["confirmations"]), duration(cell["seconds"]),
            dollars(cell["dollars"]), memory(cell["peak_memory_mb"]), size(cell["disk_bytes"]),
            _source(cell),
        )
        for cell in plan["cells"]
    ]  # fmt: skip
    total = (
        "total", str(plan["runs"]), duration(plan["run_seconds"]), dollars(plan["dollars"]),
        memory(plan["peak_memory_mb"]), size(plan["disk_bytes"]), "",
    )  # fmt: skip
    names = ("cell", "runs", "run time", "dollars", "memory", "disk", "known from")
    hidden = [*(["dollars"] if not plan["dollars"] else []), *(["known from"] if len(sources) == 1 else [])]
    shown = [place for place, name in enumerate(names) if name not in hidden]
    table = Table(box=None, header_style="bold", pad_edge=False, show_footer=True)
    for place in shown:
        left = names[place] in ("cell", "known from")
        table.add_column(
            names[place], footer=total[place], justify="left" if left else "right", overflow="fold",
            no_wrap=not left, min_width=max(len(row[place]) for row in [*rows, total]) if place == 0 else None,
        )  # fmt: skip
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    console.print()
    console.print(table)
    for line in _sentences(plan, config):
        console.print(line, soft_wrap=True)


def _sentences(plan: Mapping[str, Any], config: Config) -> list[str]:
    """Return the sentences below the table: totals, limits, and what is not counted."""
    sources = " and ".join(sorted({_source(cell) for cell in plan["cells"]}))
    wall = f"{duration(plan['wall_seconds'])} ({duration(plan['low'])} to {duration(plan['high'])})"
    slurm = config.launch.kind == "slurm"
    lines = [
        f"Estimate from {sources}: {wall} until the last run has ended{', not counting the queue' if slurm else ''}."
    ]
    if plan["done"]:
        lines[0] += f" {plural(plan['done'], 'run')} of the study ended before and are not counted."
    if plan["dollars"]:
        price = f"{dollars(config.hardware.dollars_per_hour)} an hour"
        lines[0] += f" About {dollars(plan['dollars'])} at {price} ({config.hardware.name or 'hardware'})."
    peak, limit = plan["peak_memory_mb"], plan["memory_limit_mb"]
    if peak is not None and limit is not None:
        shared = processes_per_gpu(config, plan["workers"])
        fits = shared * peak <= limit
        times = f"{shared} x " if shared > 1 else ""
        more = "more memory (slurm.mem_gb)" if slurm else "fewer workers (launch.workers)"
        advice = "" if fits else f" [red]This does not fit[/red]: {more}, or smaller batches."
        lines.append(f"Memory: {times}{memory(peak)} of {memory(limit)}{', fits.' if fits else '.'}{advice}")
    place = Path(config.runs_dir)
    free = shutil.disk_usage(place if place.exists() else Path()).free
    if plan["disk_bytes"] > free:
        lines.append(f"[red]Disk: {size(plan['disk_bytes'])} do not fit in the {size(free)} that are free.[/red]")
    most = config.confirm.looks[-1] if config.confirm.looks else config.confirm.max_seeds
    if most is not None:
        lines.append(f"Not counted: more confirmations of cells whose verdict is open, up to {most} seeds each.")
    if config.tune.pruner != "none" or config.train.patience:
        lines.append("Trials that are pruned or stop early make it shorter.")
    for what, limit in (("wall_seconds", config.budget.seconds), ("dollars", config.budget.dollars)):
        if limit is not None and plan[what] is not None and plan[what] > limit:
            key = "seconds" if what == "wall_seconds" else what
            lines.append(
                f"[yellow]More than budget.{key}={limit:g}[/yellow]: tuning would end early, the same for all cells."
            )
    return lines


def _source(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell's cost estimate, without the number of runs."""
    return str(cell["source"]).split(" (")[0]
