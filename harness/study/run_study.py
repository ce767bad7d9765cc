"""Run a study, from the command line to its report."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape

from harness.config.overrides import without_a_cluster
from harness.config.schema import Config
from harness.design import study_file
from harness.design.cells import StudyRequest, compose
from harness.design.device_checks import trains
from harness.design.family_checks import suited
from harness.design.numerics import numerics, slow_precision
from harness.design.prepared_cell import PreparedCell, prepare_cells
from harness.design.replicates import Replicates, all_seeds, check_fresh, replicates
from harness.errors import HarnessError, Problems
from harness.formatting.console import new_console
from harness.formatting.values import duration, plural
from harness.launch import Launcher, make_launcher
from harness.launch.devices import check_devices
from harness.launch.slurm.submissions import Jobs
from harness.planning.capacity import described, slot_rate
from harness.planning.plan import keep_plan, show_plan
from harness.records.run_records import RunRecords
from harness.records.run_spec import study_argument
from harness.records.states import StudyEnd
from harness.records.study_files import RunPaths, StudyPaths
from harness.search.joint import check_joint, groups
from harness.search.rungs import check_pruner
from harness.search.samplers import startup_trials
from harness.search.storage import lock, open_storage
from harness.search.trial_result import check_costs
from harness.serving.saved_model import example_call
from harness.study.budget import Budget, check_dollars
from harness.study.cell_scheduler import CellScheduler, make_schedulers
from harness.study.coordinator import Coordinator
from harness.study.importance import write_importances
from harness.study.live_view import LiveView, tell
from harness.study.replication import Replication, plan_looks
from harness.study.selection import Selection, write_choices
from harness.study.spending import Spending, settle
from harness.study.stop_requests import StopRequests
from harness.study.warm_start import Start, warm_starts
from harness.system import code_snapshot
from harness.system.machine import restarts
from harness.track import Following


def run_study(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> int:
    """Compose, tune, confirm, report. Return the exit code: 0 done, 1 nothing worked, 3 budget spent, 130 interrupted.

    Args:
        loader, master, arguments: see `harness.design.cells.compose`.

    Raises:
        HarnessError: the request cannot be carried out; nothing was started.
    """
    with Following() as trackers:
        return _run_study(loader, master, arguments, trackers)


def _run_study(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str], trackers: Following) -> int:
    began, console = time.monotonic(), new_console()
    request = suited(compose(loader, master, arguments), arguments)
    if request.config.launch.kind == "slurm":  # jobs inherit it, and find the models that are downloaded here
        os.environ.update({name: str(value) for name, value in request.config.slurm.environment.items()})
    config = _common(request)
    prepared = prepare_cells(request.cells, request.config)
    name, directory, prepared = _named(config, prepared)
    study_file.planned_looks(directory, plan_looks(config.confirm, len(request.seeds)))
    trackers.check(config.tracker, config.packages)
    check_joint(request.cells, config.tune)
    own, seeds = replicates(prepared, config.confirm, request.config), all_seeds(request.seeds, config.confirm)
    by_id = {each.cell.id: each for each in prepared}
    together = [[cell] for cell in request.cells] if config.tune.mode == "fair" else groups(request.cells)
    check_pruner([[by_id[cell.id] for cell in group] for group in together], config.tune)
    check_costs(prepared, config.tune)
    warm, unused = warm_starts(prepared, config, directory)
    check_devices(config.launch, config.device)
    check_dollars(config, [slot_rate(config, each.base, 1.0) for each in prepared])
    open_jobs = Jobs(directory).open()
    if config.launch.kind == "slurm":
        # A coordinator that returns to its jobs waits for an unreachable Slurm controller instead.
        if not open_jobs and not restarts():
            from harness.launch.slurm.preflight import check

            problems = Problems()
            check(config.slurm, directory, [each.base for each in prepared], problems)
            problems.raise_any()
    elif open_jobs:
        raise HarnessError(
            f"The study {name} has {plural(sum(len(each.batches) for each in open_jobs), 'Slurm job')} under way, and "
            f"launch.kind={config.launch.kind} would run beside them. Name its profile again (slurm=...), or stop them "
            f"first: python -m harness.stop {study_argument(directory)}"
        )
    _tell_notes(
        console,
        [
            *request.notes,
            *without_a_cluster(arguments, config.launch.kind),
            *slow_precision(config, prepared),
            *check_fresh(request.seeds, config, request.cells),
            *((*_warnings(prepared), *_begun(warm), *unused) if config.plan else ()),
        ],
    )
    if config.plan:
        show_plan(console, name, directory, prepared, seeds, config, began)
        return 0
    directory.mkdir(parents=True, exist_ok=True)
    keep_plan(directory, prepared, seeds, config)
    if config.launch.detach:
        return _detach(console, config, name, directory)
    with lock(directory):
        trackers.start(config.tracker, config.packages, directory, lambda kind, line: tell(console, kind, line))
        console.print(
            f"Study [bold]{name}[/bold] in {escape(str(directory))}: {plural(len(prepared), 'cell')}, "
            f"up to {_budget(config)} {'each' if config.tune.mode == 'fair' else 'for all methods together'}, then "
            f"{plural(len(seeds), 'confirmation')} of the best"
            f"{'' if config.tune.mode == 'fair' else f' of {config.tune.finalists}'}.",
            soft_wrap=True,
        )
        _tell_notes(console, _warnings(prepared))
        for line in (*_begun(warm), *unused):
            console.print(escape(line), soft_wrap=True)
        try:
            schedulers, ended, note = _coordinate(
                console, config, name, directory, prepared, own, request.seeds, warm, began
            )
        except Leaving as leaving:
            return _leave(console, leaving.number)
    again = "python -m harness " + " ".join(_quote(argument) for argument in sys.argv[1:])
    if ended == StudyEnd.INTERRUPTED:
        console.print(
            f"Interrupted. Nothing is lost; to go on, run the same command again:\n  {escape(again)}", soft_wrap=True
        )
        return 130
    if note:
        console.print(f"[yellow]{escape(note)}[/yellow]", soft_wrap=True)
    code = _conclude(console, config, name, directory, schedulers, trackers)
    if ended == StudyEnd.BUDGET:
        console.print(
            f"To go on from here, run the same command with a larger budget; it counts all that was spent before:\n"
            f"  {escape(_larger(again, config))}",
            soft_wrap=True,
        )
        return 3
    return code


def _named(config: Config, asked: Sequence[PreparedCell]) -> tuple[str, Path, list[PreparedCell]]:
    """Return the study's name, its directory, and its cells with the numerics that it computes with."""
    name = config.study or study_file.default_name(config.sweep.name, asked, config.tune)
    directory = Path(config.runs_dir) / name
    found = numerics(directory, config, asked)
    prepared = [each.settled(found) for each in asked]
    study_file.check_same(directory, prepared, config.tune)
    return name, directory, prepared


def _tell_notes(console: Console, notes: Iterable[str]) -> None:
    for note in notes:
        console.print(f"[yellow]Note:[/yellow] {escape(note)}", soft_wrap=True)


def _begun(warm: Mapping[str, Sequence[Start]]) -> Iterable[str]:
    return [f"{cell} begins with {start}" for cell, starts in warm.items() for start in starts]


def _warnings(prepared: Sequence[PreparedCell]) -> Iterable[str]:
    return dict.fromkeys(warning for each in prepared for warning in each.warnings)


def _larger(command: str, config: Config) -> str:
    """Return the same command with its budget doubled."""
    for key, limit in (("seconds", config.budget.seconds), ("dollars", config.budget.dollars)):
        if limit is not None:
            command = re.sub(rf" '?budget\.{key}=[^ ]*", "", command) + f" budget.{key}={2 * limit:g}"
    return command


def _dearest(prepared: Sequence[PreparedCell]) -> Mapping[str, Any]:
    """Return the configuration of a cell whose runs use all devices of their slot, which holds them in any case."""
    bases = [each.base for each in prepared]
    return next(filter(trains, bases), bases[0])


def _leave(console: Console, number: int) -> int:
    """End the coordinator's own job; at its time limit (SIGUSR2) requeue it. After SIGTERM Slurm decides."""
    console.print("The coordinator leaves; jobs under way go on, and it takes them over when it is back.")
    from harness.launch.slurm.worker import requeue

    return requeue() if number == signal.SIGUSR2 else 1


def _coordinate(
    console: Console,
    config: Config,
    name: str,
    directory: Path,
    prepared: Sequence[PreparedCell],
    own: Replicates,
    seeds: tuple[int, ...],
    warm: Mapping[str, Sequence[Start]],
    began: float,
) -> tuple[list[CellScheduler], StudyEnd, str]:
    """Run the study. Return its cells, how it ended, and what a budget left undone."""

    def warn(message: str) -> None:
        console.print(f"[yellow]Warning:[/yellow] {escape(message)}", soft_wrap=True)

    storage = open_storage(config.tune.storage, directory, warn)
    looks = study_file.planned_looks(directory, plan_looks(config.confirm, len(seeds)))
    study_file.write(
        directory, prepared, config.tune, all_seeds(seeds, config.confirm), config.confirm,
        startup_trials(config.tune), described(config), looks, config.report,
        {cell: [start.described for start in starts] for cell, starts in warm.items()},
    )  # fmt: skip
    runs = StudyPaths(directory).runs
    records = RunRecords(runs, warn)
    first = {cell: [start.encoded for start in starts] for cell, starts in warm.items()}
    schedulers = make_schedulers(prepared, config, seeds, name, runs, records, storage, first, own)
    stop_file = StudyPaths(directory).stop
    if not restarts():  # a restarted coordinator obeys a stop that was requested meanwhile
        stop_file.unlink(missing_ok=True)
    # A coordinator that is a Slurm job itself leaves on Slurm's signal and is restarted; its jobs go on.
    in_job = "SLURM_JOB_ID" in os.environ and not sys.stdout.isatty()
    stop_requests = StopRequests(stop_file, leaves=in_job and config.launch.kind == "slurm")
    view = LiveView(console)
    _write_choices(directory, schedulers)  # includes confirmations that an extended study adds to a selection
    replication = Replication(
        schedulers, looks, config.seed, config.report, view.say, lambda: _write_choices(directory, schedulers)
    )
    while replication.advance():  # seeds granted before a restart count as work, and may be done already
        pass
    work = sum(scheduler.workload.left for scheduler in schedulers)
    if all(scheduler.done for scheduler in schedulers):
        _write_choices(directory, schedulers)
        settle(directory)
        return schedulers, StudyEnd.DONE, ""
    if config.launch.kind == "slurm":
        from harness.launch.slurm.launcher import SlurmLauncher

        launcher: Launcher = SlurmLauncher(
            config.launch, config.slurm, directory, code_snapshot.take(directory, config.packages), warn
        )
    else:
        launcher = make_launcher(
            config.launch, config.device, max(1, work), lambda: stop_requests() or budget.exhausted()
        )
    spending = Spending(directory, records, config, _dearest(prepared), launcher.capacity, began)
    budget = Budget(config.budget, spending, records, launcher.capacity, lambda line: view.say(line, "yellow"))
    spending.write(None)
    try:
        with stop_requests.watching(), view:
            coordinator = Coordinator(
                schedulers, launcher, records, config.launch, config.tune.pruner not in ("none", "asha"),
                view, stop_requests, budget, replication,
            )  # fmt: skip
            threading.Thread(target=_warm_up, daemon=True).start()
            finished = coordinator.run()
    except KeyboardInterrupt:
        finished = False
        launcher.withdraw(everything=True)
    finally:
        launcher.close()
        leaving = None if stop_requests() else stop_requests.leaving
        if leaving is None:
            stop_file.unlink(missing_ok=True)
    if leaving is not None:
        spending.write(None)
        raise Leaving(leaving)
    _write_choices(directory, schedulers)
    return schedulers, *budget.end(finished, stop_requests())


def _warm_up() -> None:
    """Import what the report needs while the coordinator waits for runs."""
    with suppress(Exception):  # the report shows the error itself
        importlib.import_module("harness.report.preload")


def _detach(console: Console, config: Config, name: str, directory: Path) -> int:
    """Submit the coordinator of the study as a Slurm job, and return the exit code."""
    from harness.launch.slurm.commands import NoAnswer
    from harness.launch.slurm.detached_coordinator import detach

    with lock(directory):
        pass  # raises if another coordinator holds the study
    code = code_snapshot.take(directory, config.packages)
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith(("launch.detach=", "study="))]
    for place, argument in enumerate(arguments):  # copy the user's own configs as they are now
        option, equals, value = argument.partition("=")
        if option in ("--config-dir", "-cd") and (value or place + 1 < len(arguments)):
            copy = code_snapshot.take_configs(directory.resolve(), Path(value or arguments[place + 1]))
            arguments[place + (not equals)] = f"{option}={copy}" if equals else str(copy)
    named = f'study="{name}"'  # quoted, so that Hydra reads it as text even if it looks like a number or has accents
    try:
        job_id, new = detach(directory, code, config.slurm, [*arguments, named, "launch.detach=false"])
    except NoAnswer as error:
        raise HarnessError(f"Slurm does not answer ({error}). Try again when `sinfo` does.") from error
    what = f"Its coordinator is job {job_id}" if new else f"Its coordinator was submitted before, as job {job_id}"
    study = escape(study_argument(directory))
    console.print(
        f"Study [bold]{name}[/bold] in {escape(str(directory))}. {what}; this shell is not needed any more.\n"
        f"  python -m harness.status {study} --watch   how far it is\n"
        f"  python -m harness.logs {study} <run>       what a run printed\n"
        f"  python -m harness.stop {study}             stop it; the same command goes on later",
        soft_wrap=True, markup=True,
    )  # fmt: skip
    return 0


class Leaving(Exception):
    """Raised when the coordinator's own job is about to end; the study's jobs go on until it is restarted."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _write_choices(directory: Path, schedulers: Sequence[CellScheduler]) -> None:
    selections: dict[str, list[Selection | None]] = {}
    for scheduler in schedulers:
        selections.setdefault(scheduler.id, []).append(scheduler.confirmation.selection)
    write_choices(directory, selections)


def _conclude(
    console: Console,
    config: Config,
    name: str,
    directory: Path,
    schedulers: Sequence[CellScheduler],
    trackers: Following,
) -> int:
    """Write the report; print the table, its path, and the best model of each task and how to load it."""
    from harness.report import text_table, write

    write_importances(directory, schedulers)
    report = write(directory, Path(config.reports_dir) / name)
    trackers.report = report.page.parent
    console.print(text_table(report, console.width))
    for sentence in (*report.summary, f"Report: {report.page}"):
        console.print(escape(sentence), soft_wrap=True)
    selections = [
        (each.cell, each.confirmation.selection)
        for each in schedulers
        if each.confirmation.selection and each.prepared.replicate == 0
    ]
    for task in dict.fromkeys(cell.task for cell, _ in selections):
        of_task = [(cell, selection) for cell, selection in selections if cell.task == task]
        sign = 1 if of_task[0][0].maximize else -1
        best, selected = max(of_task, key=lambda each: sign * each[1].val)
        model = RunPaths(Path(selected.specs[0].directory)).model
        if model.is_dir():
            console.print(
                f"Best on {task} by validation: [bold]{best.id}[/bold]. To use its model:\n"
                f"  from harness.predict import load\n"
                f"  model = load({str(model)!r})\n"
                f"  model.{example_call(model)}",
                soft_wrap=True,
            )
    return 0 if selections else 1


def _common(request: StudyRequest) -> Config:
    """Return the keys of the common schema as an object of the schema's classes."""
    own = OmegaConf.masked_copy(request.config, [field.name for field in fields(Config)])
    return Config(**cast(dict[str, Any], OmegaConf.to_object(own)))


def _budget(config: Config) -> str:
    parts = []
    if config.tune.trials is not None:
        parts.append(plural(config.tune.trials, "trial"))
    if config.tune.seconds is not None:
        parts.append(duration(config.tune.seconds))
    return " or ".join(parts)


def _quote(argument: str) -> str:
    import shlex

    return shlex.quote(argument)
