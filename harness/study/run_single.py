"""One run from the command line: a study of one run, with the same configuration, code and record."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape

from harness.config.hydra_section import without_effect
from harness.config.overrides import by_key, parse
from harness.design.cells import NAMED, Cell
from harness.design.numerics import OLD, numerics, slow_precision
from harness.design.prepared_cell import PreparedCell, prepare_cells
from harness.design.tunable_keys import check_choices, check_pins, one_choice
from harness.errors import HarnessError, Problems
from harness.formatting.console import new_console
from harness.launch import make_launcher, use_threads
from harness.launch.devices import check_devices
from harness.records.record import CorruptRecord, Record, UnreadableRecord
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.states import Phase, RunStatus, StopRequest
from harness.records.study_files import RunPaths, StudyPaths
from harness.serving.saved_model import example_call
from harness.study.live_view import tell
from harness.study.stop_requests import StopRequests
from harness.track import Following

STUDY = "single"
IN_WORKERS = "harness.launch.local.single_run"


def run_single(config: DictConfig) -> int:
    """Train, evaluate on validation and test data, and save the model. Return the exit code.

    Raises:
        HarnessError: the request cannot be carried out and nothing was started, or the run failed.
    """
    if config.launch.kind == "slurm" or config.launch.detach:
        raise HarnessError(
            "slurm=<profile> and launch.detach send the runs of a study to a cluster, and this is one run, in this "
            "process. Make it a study (-m), or leave them out."
        )
    _check_choices(config)
    console = new_console()
    nodes = cast(dict[str, Any], OmegaConf.to_container(config.tracker, resolve=True))
    Following.check(nodes, config.packages)
    names = {group: str(config[group].name) for group in NAMED}
    cell = Cell(".".join(names.values()), names["task"], names["model"], names["method"], variant={}, config=config)
    (ready,) = prepare_cells([cell], config)
    check_devices(config.launch, config.device)
    study = str(config.study or STUDY)
    now = numerics(None, config)
    spec = _spec(ready.settled(now), study, config)
    before = _spec(ready.settled({**now, **OLD}), study, config)
    if before.paths.directory.is_dir():  # a run that an earlier version began goes on as it began
        spec = before
    for warning in (*ready.warnings, *slow_precision(config, [ready.settled(now)])):
        console.print(f"[yellow]Note:[/yellow] {escape(warning)}", soft_wrap=True)
    if config.plan:
        console.print(f"Plan: one run of {cell.id} in {spec.directory}; nothing was started.", soft_wrap=True)
        return 0
    record = _earlier(console, spec.paths)
    if record is not None and record.status == RunStatus.OK and not config.rerun:
        console.print("This run was completed before; its log follows. To train again: rerun=true", soft_wrap=True)
        console.print(spec.paths.log.read_text(encoding="utf-8").rstrip(), markup=False)
    else:
        if config.rerun:
            spec.paths.record.unlink(missing_ok=True)
        with Following() as trackers:
            only = f"{cell.id}/{Path(spec.directory).name}"
            study_dir = Path(str(config.runs_dir)) / study
            trackers.start(nodes, config.packages, study_dir, lambda kind, line: tell(console, kind, line), only)
            record = _execute(console, config, RunBatch((spec,)))
    if record is None or record.status == RunStatus.RUNNING:
        console.print("Interrupted. A checkpoint is kept; run the same command again to go on.")
        return 130
    if record.status != RunStatus.OK:
        raise HarnessError(f"The run failed: {record.error} (details in {spec.paths.log})")
    console.print(f"Record: {spec.paths.record}\nModel:  {spec.paths.model}", soft_wrap=True)
    console.print(
        f"  from harness.predict import load\n"
        f"  load({json.dumps(str(spec.paths.model))}).{example_call(spec.paths.model)}",
        soft_wrap=True,
    )
    return 0


def _spec(ready: PreparedCell, study: str, config: DictConfig) -> RunSpec:
    runs = StudyPaths(Path(str(config.runs_dir)) / study).runs
    return ready.spec(runs, study, Phase.SINGLE, int(config.seed), {}, save_model=True)


def _check_choices(config: DictConfig) -> None:
    """Refuse a list of several tasks, models or methods, and say how to write a study with one cell for each."""
    if not HydraConfig.initialized():
        return
    hydra = HydraConfig.get()
    problems = Problems()
    for argument in hydra.overrides.task:
        key, _, value = argument.partition("=")
        try:
            one_choice(key.lstrip("+"), value)
        except HarnessError as error:
            problems.extend(error)
    given = [parse(line) for line in hydra.overrides.task]
    written = [line for each in given for line in by_key(each) or [each.get_key_element()]]
    check_pins([line.lstrip("+").partition("=")[0] for line in written], config.model, problems)
    for message in without_effect(hydra):
        problems.add(message)
    problems.raise_any()
    check_choices(dict(hydra.runtime.choices))


def _earlier(console: Console, paths: RunPaths) -> Record | None:
    """Read the record that an earlier run left; a damaged one is told, and the run executed again.

    Raises:
        HarnessError: it cannot be opened.
    """
    try:
        return Record.read(paths.record)
    except UnreadableRecord as error:
        raise HarnessError(f"{error} Make it readable, or remove it.") from error
    except CorruptRecord as error:
        console.print(f"[yellow]Warning:[/yellow] {escape(str(error))} The run is executed again.", soft_wrap=True)
        return None


def _execute(console: Console, config: DictConfig, batch: RunBatch) -> Record | None:
    if config.launch.devices_per_run > 1:
        return _execute_together(console, config, batch)
    with console.status("Loading torch and the model ..."):
        from harness.runs.execute import execute
        from harness.system.resources import usable_cores, usable_threads

        use_threads(config.launch.threads or usable_threads(usable_cores()))
    interrupt = StopRequests()
    spec = batch.runs[0]
    spec.paths.stop.unlink(missing_ok=True)
    with interrupt.watching():
        execute(batch, interrupted=interrupt, say=lambda line: console.print(line, markup=False, soft_wrap=True))
    return Record.read(spec.paths.record)


def _execute_together(console: Console, config: DictConfig, batch: RunBatch) -> Record | None:
    """Execute the run in processes that train together (`launch.devices_per_run`); print meanwhile what it says.

    It may take as long as one in this process may.

    Raises:
        HarnessError: one of the processes died.
    """
    (spec,) = batch.runs
    for left in (spec.paths.stop, spec.paths.shown):
        left.unlink(missing_ok=True)
    interrupt, lost, printed = StopRequests(), None, 0
    launch = OmegaConf.merge(config.launch, {"timeout_min": None, "workers": 1})
    launcher = make_launcher(cast(Any, launch), config.device, 1, lambda: False, IN_WORKERS)
    try:
        with interrupt.watching():
            launcher.submit(batch)
            ended = False
            while not ended:
                for outcome in launcher.wait(0.2):
                    ended, lost = True, outcome.lost
                if interrupt():
                    spec.paths.ask(StopRequest.CHECKPOINT)
                with suppress(OSError), spec.paths.shown.open(encoding="utf-8") as shown:
                    shown.seek(printed)
                    for line in iter(shown.readline, ""):
                        console.print(line.rstrip("\n"), markup=False, soft_wrap=True)
                    printed = shown.tell()
    finally:
        launcher.close()
        spec.paths.shown.unlink(missing_ok=True)
    if lost is not None:
        raise HarnessError(f"{lost} Run the same command again to go on from the last checkpoint.")
    return Record.read(spec.paths.record)
