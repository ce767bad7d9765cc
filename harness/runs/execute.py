"""A pack of runs -> records. The same for one run from the command line, a warm worker and a job of a cluster."""

from __future__ import annotations

import contextlib
import json
import operator
import shutil
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from harness.config.instantiate import build
from harness.errors import HarnessError, is_disk_full
from harness.methods import ClosedForm, GradientTrained
from harness.models.cpu_kernels import use_fast_products
from harness.records.files import atomic, now
from harness.records.ranking import searched_costs
from harness.records.record import PAUSED, CorruptRecord, Record
from harness.records.run_spec import RunBatch, RunPaths, RunSpec
from harness.runs.closed_form import run_closed_form
from harness.runs.context import RunContext, RunResult, Stopped
from harness.runs.gradient import run_gradient_trained
from harness.runs.measurements import Energy, occupied, serving, weight_bytes
from harness.serving.saved_model import describe, save_model
from harness.system.machine import PeakMemory, check_device, device_name, scheduler, versions
from harness.training.loop import fit
from harness.training.session import TrainingSession

STOP_SECONDS = 0.5  # how often the stop file is looked for
# Costs that a run which waited at a rung brings to its next attempt: its own are added, or the larger one counts.
CARRIED = ("data_seconds", "model_seconds", "head_seconds", "features_seconds", "augment_seconds", "pack_size")
# And those of all its attempts together.
TOTALS = ("total_seconds", "accelerator_seconds", "core_seconds", "peak_memory_mb", "energy_joules")

Say = Callable[[str], None]


def execute(
    pack: RunBatch,
    interrupted: Callable[[], bool] = lambda: False,
    say: Say | None = None,
    holds: Callable[[RunSpec], bool] = lambda spec: True,
    settled: Callable[[RunSpec], None] = lambda spec: None,
) -> None:
    """Execute runs, as many at a time as the pack says and as can share a backbone, each into a record.

    A run whose record is `ok` is left as it is; one that has a checkpoint goes on from it. What goes wrong in a run
    becomes its record, and the next run follows.

    Args:
        pack: the runs.
        interrupted: looked at between steps; True checkpoints what is under way, leaves its record `running`, and
            returns.
        say: takes the lines that runs print; they also go to each run's log.
        holds: whether a run is (still) this process's to execute, asked before it begins and at every step. Where a
            node that was given up can come back, another process may have taken its runs over; this one then writes
            nothing more of them.
        settled: told of each run that has ended, paused or been stopped.

    Raises:
        HarnessError: a run's directory cannot be written.
    """
    use_fast_products()
    waiting = deque(pack.runs)

    def told(spec: RunSpec) -> Generator[TrainingSession, None, bool]:
        went = yield from _execute(spec, interrupted, say, holds, pack.neighbours)
        settled(spec)
        return went

    training: dict[int, Generator[TrainingSession, None, bool]] = {}  # by the member that each run waits for

    def begin() -> TrainingSession | None:
        """Start runs until one has something to train."""
        while waiting and not interrupted():
            spec = waiting.popleft()
            if not holds(spec):
                continue
            _make(spec.paths.directory)
            if not _is_done(spec) and (member := go_on(told(spec))) is not None:
                return member
        return None

    def go_on(run: Generator[TrainingSession, None, bool]) -> TrainingSession | None:
        """Let a run go on to the next thing that it wants trained; None if it has ended."""
        try:
            member = next(run)
        except StopIteration as end:
            if not end.value:
                waiting.clear()
            return None
        training[id(member)] = run
        return member

    def ended(member: TrainingSession) -> TrainingSession | None:
        run = training.pop(id(member))
        del member  # so that only its run holds it, and lets it go before the next is made
        return go_on(run) or begin()

    def together() -> Iterator[TrainingSession]:
        """Start as many runs as the pack says; none beside one that has a backbone of its own, which saves nothing."""
        for _ in range(pack.together):
            if (member := begin()) is None:
                return
            yield member
            if not member.shares:
                return

    sharing = None if pack.together == 1 else "probe" if pack.probe else "always"
    fit(together(), interrupted, sharing, ended, pack.neighbours)


def _is_done(spec: RunSpec) -> bool:
    record = _known(spec)
    return record is not None and record.status == "ok" and record.signature == spec.signature


def _known(spec: RunSpec) -> Record | None:
    with contextlib.suppress(CorruptRecord):  # it is written anew
        return Record.read(spec.paths.record)
    return None


def _execute(
    spec: RunSpec, interrupted: Callable[[], bool], say: Say | None, holds: Callable[[RunSpec], bool], neighbours: int
) -> Generator[TrainingSession, None, bool]:
    """Execute one run; yield what is to be trained for it; return False if it was stopped to go on later."""
    started, trained, accompanied = time.perf_counter(), 0.0, False
    paths = spec.paths
    log = Log(paths.log, say)
    stop = StopFile(paths.stop, lambda: holds(spec))
    record = _begin(spec)
    before = record.cost
    result = RunResult(cost={name: before[name] for name in CARRIED if name in before})
    memory: PeakMemory | None = None
    energy: Energy | None = None
    device = None
    try:
        device = check_device(spec.config["device"])
        memory, energy = PeakMemory(device), Energy(device)
        experiment = RunContext.load(spec, result, log, stop, interrupted)
        for member in _compute(experiment):
            started -= time.perf_counter()  # while it waits, others may compute
            yield member
            started += time.perf_counter()
            trained, accompanied = trained + member.seconds, accompanied or member.accompanied
            del member  # what follows is made when its memory is free
        if not holds(spec):
            return False
        with result.phase("save"):
            _save(experiment)
        _measure_serving(experiment)
        record.status = "ok"
    except Stopped as stopped:
        if stopped.status == "taken":
            return False
        paths.stop.unlink(missing_ok=True)
        if stopped.status == "stopped":
            log("Stopped at a checkpoint.")
            return False
        if stopped.status == "paused":
            result.cost[PAUSED] = spec.until
            log(f"Paused at {spec.until} {spec.resource}.")
        else:
            record.status = "pruned"
            log("Pruned.")
    except Exception as error:  # noqa: BLE001 -- whatever a run raises is its result, and the next run follows
        record.status, record.error = "failed", _failed(error, spec, log)
    record.metrics = result.metrics
    record.data = result.data
    seconds = time.perf_counter() - started + trained
    # Memory and energy are the process's, and its alone who had it alone.
    own = {
        "peak_memory_mb": None if memory is None or accompanied else round(memory.megabytes(), 1),
        "energy_joules": None if energy is None or accompanied else energy.joules(),
    }
    record.cost = _costs(result.cost, before, seconds, device, own, neighbours)
    record.provenance = versions() | scheduler() | {"device_name": device and device_name(device)} | result.provenance
    record.ended = None if record.status == "running" else now()
    if not holds(spec):
        return False
    record.write(paths.record)
    if record.status != "running":
        shutil.rmtree(paths.checkpoint, ignore_errors=True)
    return True


def _failed(error: Exception, spec: RunSpec, log: Log) -> str:
    """Log why a run failed, and say it in one message.

    Raises:
        HarnessError: the disk is full. That is no result of the run, which goes on from its checkpoint later.
    """
    if is_disk_full(error):
        raise HarnessError(
            f"The disk that holds {spec.paths.directory} is full. Free space; the run goes on."
        ) from error
    message = explain(error, spec.config)
    log(f"Failed: {message}", quiet=True)
    if not isinstance(error, HarnessError):
        log(traceback.format_exc(), quiet=True)
    return message


def _costs(
    found: dict[str, Any],
    before: dict[str, Any],
    seconds: float,
    device: str | None,
    own: dict[str, float | None],
    neighbours: int,
) -> dict[str, Any]:
    """What a run has cost, with what earlier attempts have that paused at a rung.

    Args:
        found: by this attempt.
        before: by earlier ones; empty if there was none.
        seconds: of this attempt.
        device: where it computed; None if that was not found.
        own: peak memory and energy of this attempt; None is not known, and then neither is the whole.
        neighbours: see `RunBatch`.
    """
    total = seconds + before.get("total_seconds", 0.0)
    if before:
        own = {
            name: None if (value := own[name]) is None or before.get(name) is None else join(value, before[name])
            for name, join in (("peak_memory_mb", max), ("energy_joules", operator.add))
        }
    costs = found | {"total_seconds": total} | occupied(total, device, neighbours)
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in costs.items()} | {
        **own,
        "threads": torch.get_num_threads(),
        "device": device,
    }


def _begin(spec: RunSpec) -> Record:
    """Make the directory, its config.yaml and a record that says `running`; remove what another attempt left."""
    paths = spec.paths
    record = spec.new_record("running")
    known = _known(spec)
    if known is not None and known.status in ("running", "lost") and known.signature == spec.signature:
        record.started = known.started
        # Of a run that paused, what it has cost so far; the rest is counted over all its attempts already.
        record.cost = {name: known.cost[name] for name in (*CARRIED, *TOTALS) if known.cost.get(name) is not None}
    else:
        shutil.rmtree(paths.checkpoint, ignore_errors=True)
        shutil.rmtree(paths.model, ignore_errors=True)
        for file in (paths.predictions, paths.metrics, paths.log):
            file.unlink(missing_ok=True)
    record.started = record.started or now()
    with atomic(paths.config) as temporary:
        temporary.write_text(yaml.safe_dump(spec.config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    record.write(paths.record)
    return record


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise HarnessError(
            f"The run's directory {directory} cannot be written ({error.strerror or error}): mend it, or set "
            "runs_dir=FOLDER."
        ) from error


def _compute(experiment: RunContext) -> Iterator[TrainingSession]:
    """Compute a run; yield what is to be trained."""
    method = build(experiment.spec.config["method"], experiment.spec.config["packages"])
    if isinstance(method, ClosedForm):
        run_closed_form(experiment, method)
    elif isinstance(method, GradientTrained):
        yield from run_gradient_trained(experiment, method)
    else:
        raise HarnessError(f"{type(method).__name__} is neither a ClosedForm nor a GradientTrained method.")


def _save(experiment: RunContext) -> None:
    """Write predictions and, where it is asked for, the model."""
    spec, result = experiment.spec, experiment.result
    if experiment.tests:
        _write_predictions(spec.paths, experiment)
    if result.classifier is not None:
        result.cost["saved_bytes"] = weight_bytes(result.classifier)
    if (spec.save_model or spec.phase == "single") and result.classifier is not None:
        encoder, data = experiment.encoder, experiment.data
        facts = describe(
            encoder.model, encoder.resolved, data.labels, encoder.length, data.train.pairs is not None,
            spec.config["task"]["name"], spec.config["method"]["name"],
        )  # fmt: skip
        result.cost["saved_bytes"] = save_model(
            spec.paths.model, result.classifier, result.hooks, encoder.tokenizer, facts
        )


def _measure_serving(experiment: RunContext) -> None:
    """Measure latency and throughput; what goes wrong there leaves them unknown, and the run's result stands."""
    result = experiment.result
    # Tuning measures it only where it goes by it.
    wanted = any(cost.startswith("latency") for cost in searched_costs(experiment.spec.config.get("tune") or {}))
    if not (experiment.tests or wanted) or result.classifier is None:
        return
    try:
        with result.phase("serve"):
            result.cost |= serving(experiment, result.classifier)
    except Exception as error:  # noqa: BLE001 -- a side figure; the user is told, and the record has no value
        experiment.say(f"Note: latency and throughput could not be measured ({type(error).__name__}: {error}).")


def _write_predictions(paths: RunPaths, experiment: RunContext) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    names = np.array(experiment.data.labels, dtype=object)
    columns: dict[str, list[Any]] = {name: [] for name in ("split", "id", "label", "prediction", "probabilities")}
    for name, (split, probabilities) in experiment.result.predictions.items():
        columns["split"] += [name] * len(split)
        columns["id"] += split.ids.tolist()
        columns["label"] += names[split.labels].tolist()
        columns["prediction"] += names[probabilities.argmax(axis=1)].tolist()
        columns["probabilities"] += list(probabilities)
    types = {"probabilities": pa.list_(pa.float32()), "id": pa.int64()}
    table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})
    # In the order of the probabilities; a class may occur in no row.
    table = table.replace_schema_metadata({"labels": json.dumps(list(experiment.data.labels))})
    with atomic(paths.predictions) as temporary:
        parquet.write_table(table, temporary)


class Log:
    """Writes a run's lines to its log.txt, and passes them on."""

    def __init__(self, path: Path, say: Say | None) -> None:
        self.path, self.say = path, say

    def __call__(self, line: str, quiet: bool = False) -> None:
        """Write a line; a quiet one is not passed on."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")
        if self.say is not None and not quiet:
            self.say(line)


class StopFile:
    """Reads the file that asks a run to stop, and whether the run is still ours, now and then."""

    def __init__(self, path: Path, holds: Callable[[], bool] = lambda: True) -> None:
        self.path, self.holds = path, holds
        self.next = 0.0

    def __call__(self) -> str | None:
        """Give `prune`, `checkpoint`, `taken` (by another process) or None."""
        if time.monotonic() < self.next:
            return None
        self.next = time.monotonic() + STOP_SECONDS
        if not self.holds():
            return "taken"
        try:
            content = self.path.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return content if content in ("prune", "checkpoint") else None


def explain(error: Exception, config: dict[str, Any]) -> str:
    """Say in one message why a run failed."""
    if isinstance(error, HarnessError):
        return str(error)
    if _is_out_of_memory(error):
        train = config["train"]
        half = max(int(train["batch_size"]) // 2, 1)
        return (
            f"Out of memory with train.batch_size={train['batch_size']} and train.accumulate={train['accumulate']}. "
            f"Try train.batch_size={half} train.accumulate={int(train['accumulate']) * 2}: the same rows a step in "
            f"less memory; or a smaller train.eval_batch_size (now {train['eval_batch_size']}) or task.max_length."
        )
    return f"{type(error).__name__}: {error}"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's CPU allocator has no exception of its own.
    words = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError | OSError) and any(word in str(error).lower() for word in words)
