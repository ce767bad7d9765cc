"""Execute a batch of runs and write their records: the same for the command line, worker processes and cluster jobs."""

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
from harness.records.states import RunStatus
from harness.runs.closed_form import run_closed_form
from harness.runs.context import RunContext, RunResult, Stopped
from harness.runs.gradient import run_gradient_trained
from harness.runs.measurements import Energy, occupied, serving, weight_bytes
from harness.serving.saved_model import describe, save_model
from harness.system.machine import PeakMemory, check_device, device_name, scheduler, versions
from harness.training.loop import fit
from harness.training.session import TrainingSession

STOP_SECONDS = 0.5  # interval at which the stop file is read
# Costs carried over from before a pause: added, or the maximum is taken.
CARRIED = ("data_seconds", "model_seconds", "head_seconds", "features_seconds", "augment_seconds", "pack_size")
# Costs that are totaled over all attempts.
TOTALS = ("total_seconds", "accelerator_seconds", "core_seconds", "peak_memory_mb", "energy_joules")

Say = Callable[[str], None]


def execute(
    batch: RunBatch,
    interrupted: Callable[[], bool] = lambda: False,
    say: Say | None = None,
    holds: Callable[[RunSpec], bool] = lambda spec: True,
    settled: Callable[[RunSpec], None] = lambda spec: None,
) -> None:
    """Execute runs and write their records, as many at a time as the batch allows and as can share a backbone.

    A run whose record is `ok` is skipped; one that has a checkpoint resumes from it. An error in a run is written into
    its record, and the next run follows.

    Args:
        batch: the run batch.
        interrupted: checked between steps; True checkpoints the active runs, leaves their records `running`, and
            returns.
        say: called with the lines that runs print, which also go to each run's log.
        holds: returns whether this process (still) owns a run, checked before it starts and at every step. If a node
            that was considered lost returns, another process may have taken over its runs; this one then writes nothing
            more for them.
        settled: called with each run that has ended, paused or been stopped.

    Raises:
        HarnessError: a run's directory is not writable.
    """
    use_fast_products()
    waiting = deque(batch.runs)

    def told(spec: RunSpec) -> Generator[TrainingSession, None, bool]:
        went = yield from _execute(spec, interrupted, say, holds, batch.co_located)
        settled(spec)
        return went

    training: dict[int, Generator[TrainingSession, None, bool]] = {}  # by the session that each run waits for

    def begin() -> TrainingSession | None:
        """Start runs until one has a session to train."""
        while waiting and not interrupted():
            spec = waiting.popleft()
            if not holds(spec):
                continue
            _make(spec.paths.directory)
            if not _is_done(spec) and (session := go_on(told(spec))) is not None:
                return session
        return None

    def go_on(run: Generator[TrainingSession, None, bool]) -> TrainingSession | None:
        """Continue a run to its next session; return None if it has ended."""
        try:
            session = next(run)
        except StopIteration as end:
            if not end.value:
                waiting.clear()
            return None
        training[id(session)] = run
        return session

    def ended(session: TrainingSession) -> TrainingSession | None:
        run = training.pop(id(session))
        del session  # only its run holds it then, and frees it before the next session is made
        return go_on(run) or begin()

    def together() -> Iterator[TrainingSession]:
        """Start as many runs as the batch allows; no more once one has a backbone of its own, which saves nothing."""
        for _ in range(batch.together):
            if (session := begin()) is None:
                return
            yield session
            if not session.shares:
                return

    sharing = None if batch.together == 1 else "probe" if batch.probe else "always"
    fit(together(), interrupted, sharing, ended, batch.co_located)


def _is_done(spec: RunSpec) -> bool:
    record = _known(spec)
    return record is not None and record.status == "ok" and record.signature == spec.signature


def _known(spec: RunSpec) -> Record | None:
    with contextlib.suppress(CorruptRecord):  # the record is written again
        return Record.read(spec.paths.record)
    return None


def _execute(
    spec: RunSpec, interrupted: Callable[[], bool], say: Say | None, holds: Callable[[RunSpec], bool], co_located: int
) -> Generator[TrainingSession, None, bool]:
    """Execute one run; yield its sessions to train; return False if it was stopped to resume later."""
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
        context = RunContext.load(spec, result, log, stop, interrupted)
        for session in _compute(context):
            started -= time.perf_counter()  # time while waiting is not counted: other runs may compute
            yield session
            started += time.perf_counter()
            trained, accompanied = trained + session.seconds, accompanied or session.accompanied
            del session  # frees its memory before the next session is made
        if not holds(spec):
            return False
        with result.phase("save"):
            _save(context)
        _measure_serving(context)
        record.status = RunStatus.OK
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
            record.status = RunStatus.PRUNED
            log("Pruned.")
    except Exception as error:  # noqa: BLE001 -- any error is the result of this run, and the next run follows
        record.status, record.error = RunStatus.FAILED, _failed(error, spec, log)
    record.metrics = result.metrics
    record.data = result.data
    seconds = time.perf_counter() - started + trained
    # Memory and energy are measured per process, so they are known only for runs that had the process to themselves.
    own = {
        "peak_memory_mb": None if memory is None or accompanied else round(memory.megabytes(), 1),
        "energy_joules": None if energy is None or accompanied else energy.joules(),
    }
    record.cost = _costs(result.cost, before, seconds, device, own, co_located)
    record.provenance = versions() | scheduler() | {"device_name": device and device_name(device)} | result.provenance
    record.ended = None if record.status == "running" else now()
    if not holds(spec):
        return False
    record.write(paths.record)
    if record.status != "running":
        shutil.rmtree(paths.checkpoint, ignore_errors=True)
    return True


def _failed(error: Exception, spec: RunSpec, log: Log) -> str:
    """Log why a run failed, and return the message.

    Raises:
        HarnessError: the disk is full. This is no result of the run, which resumes from its checkpoint later.
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
    co_located: int,
) -> dict[str, Any]:
    """Return the costs of a run, including those of earlier attempts that paused at a rung.

    Args:
        found: costs of this attempt.
        before: costs of earlier attempts; empty if there was none.
        seconds: duration of this attempt.
        device: where it computed; None if that is unknown.
        own: peak memory and energy of this attempt; if a value is None (unknown), so is the total.
        co_located: see `RunBatch`.
    """
    total = seconds + before.get("total_seconds", 0.0)
    if before:
        own = {
            name: None if (value := own[name]) is None or before.get(name) is None else join(value, before[name])
            for name, join in (("peak_memory_mb", max), ("energy_joules", operator.add))
        }
    costs = found | {"total_seconds": total} | occupied(total, device, co_located)
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in costs.items()} | {
        **own,
        "threads": torch.get_num_threads(),
        "device": device,
    }


def _begin(spec: RunSpec) -> Record:
    """Write the run's config.yaml and a `running` record; remove the files of an attempt that cannot be continued."""
    paths = spec.paths
    record = spec.new_record(RunStatus.RUNNING)
    known = _known(spec)
    if known is not None and known.status in ("running", "lost") and known.signature == spec.signature:
        record.started = known.started
        # For a paused run: its costs so far. All others are already counted over all attempts.
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


def _compute(context: RunContext) -> Iterator[TrainingSession]:
    """Compute a run; yield the sessions to train."""
    method = build(context.spec.config["method"], context.spec.config["packages"])
    if isinstance(method, ClosedForm):
        run_closed_form(context, method)
    elif isinstance(method, GradientTrained):
        yield from run_gradient_trained(context, method)
    else:
        raise HarnessError(f"{type(method).__name__} is neither a ClosedForm nor a GradientTrained method.")


def _save(context: RunContext) -> None:
    """Write the predictions and, if requested, the model."""
    spec, result = context.spec, context.result
    if context.tests:
        _write_predictions(spec.paths, context)
    if result.classifier is not None:
        result.cost["saved_bytes"] = weight_bytes(result.classifier)
    if (spec.save_model or spec.phase == "single") and result.classifier is not None:
        encoder, data = context.encoder, context.data
        facts = describe(
            encoder.model, encoder.resolved, data.labels, encoder.length, data.train.pairs is not None,
            spec.config["task"]["name"], spec.config["method"]["name"],
        )  # fmt: skip
        result.cost["saved_bytes"] = save_model(
            spec.paths.model, result.classifier, result.hooks, encoder.tokenizer, facts
        )


def _measure_serving(context: RunContext) -> None:
    """Measure latency and throughput; an error leaves them unknown and does not change the run's result."""
    result = context.result
    # Tuning measures them only if the search uses latency.
    wanted = any(cost.startswith("latency") for cost in searched_costs(context.spec.config.get("tune") or {}))
    if not (context.tests or wanted) or result.classifier is None:
        return
    try:
        with result.phase("serve"):
            result.cost |= serving(context, result.classifier)
    except Exception as error:  # noqa: BLE001 -- a secondary measure; the user is told, and the record has no value
        context.say(f"Note: latency and throughput could not be measured ({type(error).__name__}: {error}).")


def _write_predictions(paths: RunPaths, context: RunContext) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    names = np.array(context.data.labels, dtype=object)
    columns: dict[str, list[Any]] = {name: [] for name in ("split", "id", "label", "prediction", "probabilities")}
    for name, (split, probabilities) in context.result.predictions.items():
        columns["split"] += [name] * len(split)
        columns["id"] += split.ids.tolist()
        columns["label"] += names[split.labels].tolist()
        columns["prediction"] += names[probabilities.argmax(axis=1)].tolist()
        columns["probabilities"] += list(probabilities)
    types = {"probabilities": pa.list_(pa.float32()), "id": pa.int64()}
    table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})
    # The order of the probabilities; needed since a class may have no row.
    table = table.replace_schema_metadata({"labels": json.dumps(list(context.data.labels))})
    with atomic(paths.predictions) as temporary:
        parquet.write_table(table, temporary)


class Log:
    """Appends a run's lines to its log.txt and forwards them."""

    def __init__(self, path: Path, say: Say | None) -> None:
        self.path, self.say = path, say

    def __call__(self, line: str, quiet: bool = False) -> None:
        """Write a line; a quiet one is not forwarded."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")
        if self.say is not None and not quiet:
            self.say(line)


class StopFile:
    """Checks every `STOP_SECONDS` for a request to stop the run, and whether this process still owns it."""

    def __init__(self, path: Path, holds: Callable[[], bool] = lambda: True) -> None:
        self.path, self.holds = path, holds
        self.next = 0.0

    def __call__(self) -> str | None:
        """Return `prune`, `checkpoint`, `taken` (over by another process) or None."""
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
    """Return one message that says why a run failed."""
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
    # torch's CPU allocator raises no specific exception.
    words = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError | OSError) and any(word in str(error).lower() for word in words)
