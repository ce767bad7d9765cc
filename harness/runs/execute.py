"""Execute a batch of runs and write their records: the same for the command line, worker processes and cluster jobs."""

from __future__ import annotations

import contextlib
import operator
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from harness.api.cost import COSTS, joined
from harness.api.family import family_of_kind
from harness.config.kinds import kind_of
from harness.errors import HarnessError, is_disk_full
from harness.models.cpu_kernels import use_fast_products
from harness.records.files import now
from harness.records.ranking import searched_costs
from harness.records.record import PAUSED, CorruptRecord, Record
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.states import RunStatus, SessionStatus
from harness.runs.costs import Costs
from harness.runs.estimator import fit_method
from harness.runs.fitted import FittedModel, Fitting, Stopped, evaluate
from harness.runs.measurements import Energy, occupied, serving
from harness.runs.outputs import write_outputs
from harness.runs.prepare import PreparedRun
from harness.runs.retention import forgotten, kept_before
from harness.runs.run_control import Log, Say, StopFile, warnings_in_logs
from harness.runs.run_queue import Running, RunQueue
from harness.system.machine import PeakMemory, check_device, device_name, scheduler, versions
from harness.training.loop import fit
from harness.training.ranks import ALONE, RankFailed, Ranks, current
from harness.training.session import TrainingSession

_JOIN: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "max": max}  # by `Cost.attempts`


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
    logs: list[Path] = []  # of the runs under way

    def start(spec: RunSpec) -> Running | None:
        if not holds(spec):
            return None
        _make(spec.paths.directory)
        return None if _is_done(spec) else _reported(spec)

    def _reported(spec: RunSpec) -> Running:
        logs.append(spec.paths.log)
        went = yield from _execute(spec, interrupted, say, holds, batch.co_located)
        logs.remove(spec.paths.log)
        settled(spec)
        return went

    queue = RunQueue(batch, start, interrupted)
    sharing = None if batch.together == 1 else "probe" if batch.probe else "always"
    with warnings_in_logs(lambda: logs):
        fit(queue.first(), interrupted, sharing, queue.following, batch.co_located)


def follow(interrupted: Callable[[], bool] = lambda: False) -> None:
    """Train along with rank 0, which executes runs, until it dismisses this rank.

    Args:
        interrupted: as in `execute`.
    """
    use_fast_products()
    ranks = current()

    def start(spec: RunSpec) -> Running:
        with contextlib.suppress(Stopped):
            with ranks.telling():
                run = PreparedRun.load(spec, lambda line: None, lambda: None)
            yield from _fitted(run, _Clock(), ranks)
        return True

    with warnings_in_logs(lambda: ()):  # rank 0 has the same
        while (spec := _next(ranks)) is not None:
            queue = RunQueue(RunBatch((spec,)), start, lambda: False)
            with contextlib.suppress(Exception):  # rank 0 knows it, and has it in the run's record
                fit(queue.first(), interrupted, None, queue.following)


def dismiss() -> None:
    """Let the other ranks return from `follow`."""
    current().from_first(_nothing)


def _next(ranks: Ranks) -> RunSpec | None:
    """Return the run that rank 0 executes next; None after the last."""
    while True:
        # An error that is told here is of a run that this rank has left. Rank 0 has it in the run's record.
        with contextlib.suppress(RankFailed, HarnessError):
            found = ranks.from_first(_nothing)
            return None if found is None else RunSpec(**found)


def _nothing() -> dict[str, Any] | None:
    return None


def _ranks_of(spec: RunSpec) -> Ranks:
    """Return the ranks that execute a run: only training is shared."""
    return current() if _trains(spec.config) else ALONE


def _trains(config: dict[str, Any]) -> bool:
    return "train" not in (config["method"].get("ignores") or ())


def _is_done(spec: RunSpec) -> bool:
    record = _known(spec)
    return record is not None and record.status == RunStatus.OK and record.signature == spec.signature


def _known(spec: RunSpec) -> Record | None:
    with contextlib.suppress(CorruptRecord):  # the record is written again
        return Record.read(spec.paths.record)
    return None


def _execute(
    spec: RunSpec, interrupted: Callable[[], bool], say: Say | None, holds: Callable[[RunSpec], bool], co_located: int
) -> Running:
    """Execute one run; yield its sessions to train; return False if it was stopped to resume later."""
    clock, paths = _Clock(), spec.paths
    log = Log(paths.log, say)
    record = _begin(spec)
    before = record.cost
    costs = Costs({name: before[name] for name in joined("carried") if name in before})
    memory: PeakMemory | None = None
    energy: Energy | None = None
    device, ranks = None, _ranks_of(spec)
    ranks.from_first(lambda: asdict(spec))  # to those that follow
    try:
        with ranks.telling():
            device, memory, energy = _meters(spec.config["device"])
            run = PreparedRun.load(spec, log, StopFile(paths.stop, lambda: holds(spec)))
        costs = costs.merged(run.costs)
        several = {"devices": ranks.size} if ranks.several else {}
        record.data, record.provenance = run.facts, run.provenance | several
        fitted = yield from _fitted(run, clock, ranks)
        costs = costs.merged(fitted.costs)
        record.data["warnings"] = [*record.data["warnings"], *fitted.warnings]
        evaluation = evaluate(run, fitted)
        costs, record.metrics = costs.merged(evaluation.costs), evaluation.metrics
        if not holds(spec):
            return False
        run = fitted.prepared or run
        costs = costs.merged(write_outputs(run, fitted, evaluation), _measured_serving(run, fitted))
        record.status = RunStatus.OK
    except Stopped as stopped:
        if stopped.status == SessionStatus.TAKEN:
            return False
        paths.stop.unlink(missing_ok=True)
        if stopped.status == SessionStatus.STOPPED:
            log("Stopped at a checkpoint.")
            return False
        costs = costs.merged(stopped.costs)
        record.metrics = {"val": stopped.validation, "test": {}}
        if stopped.status == SessionStatus.PAUSED:
            costs[PAUSED] = spec.until
            log(f"Paused at {spec.until} {spec.resource}.")
        else:
            record.status = RunStatus.PRUNED
            log("Pruned.")
    except Exception as error:  # noqa: BLE001 -- any error is the result of this run, and the next run follows
        record.status, record.error = RunStatus.FAILED, _failed(error, spec, log)
    # Memory and energy are measured per process, so they are known only for runs that had the process to themselves.
    own = {
        "peak_memory_mb": None if memory is None or clock.accompanied else round(memory.megabytes(), 1),
        # Of several devices, this process knows its own.
        "energy_joules": None if energy is None or clock.accompanied or ranks.several else energy.joules(),
    }
    record.cost = _costs(costs, before, clock.seconds(), device, own, co_located, ranks.size)
    record.provenance = versions() | scheduler() | {"device_name": device and device_name(device)} | record.provenance
    record.ended = None if record.status == RunStatus.RUNNING else now()
    if not holds(spec):
        return False
    record.write(paths.record)
    if record.status != RunStatus.RUNNING:
        shutil.rmtree(paths.checkpoint, ignore_errors=True)
    return True


def _meters(name: str) -> tuple[str, PeakMemory, Energy]:
    """Return the device that a setting selects, and what measures a run there."""
    device = check_device(name)
    return device, PeakMemory(device), Energy(device)


class _Clock:
    """The time of a run: what it computes itself, and its fraction of the training of all."""

    def __init__(self) -> None:
        self._started, self._trained, self.accompanied = time.perf_counter(), 0.0, False

    def wait(self) -> None:
        """Stop counting while the session is trained: other runs may compute."""
        self._started -= time.perf_counter()

    def go_on(self, session: TrainingSession) -> None:
        """Count again, and add what training the session took."""
        self._started += time.perf_counter()
        self._trained += session.seconds
        self.accompanied |= session.accompanied

    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.perf_counter() - self._started + self._trained


def _fitted(run: PreparedRun, clock: _Clock, ranks: Ranks) -> Fitting:
    """Fit the method of a run, and keep the time; measure what the model can before and after, if a task says so."""
    with ranks.telling():
        before, spent = kept_before(run) if ranks.leads else (None, Costs())
        fitting = fit_method(run)
        while True:
            try:
                session = next(fitting)
            except StopIteration as end:
                fitted: FittedModel = end.value
                break
            clock.wait()
            yield session
            clock.go_on(session)
            del session  # frees its memory before the next session is made
        ranks.exchange()  # what fails from here on fails rank 0 alone
    return replace(fitted, costs=spent.merged(fitted.costs, forgotten(run, fitted, before)))


def _measured_serving(run: PreparedRun, fitted: FittedModel) -> Costs:
    """Measure latency and throughput; an error leaves them unknown and does not change the run's result."""
    costs = Costs()
    # Tuning measures them only if the search uses them.
    wanted = any(COSTS[cost].measured == "serving" for cost in searched_costs(run.spec.config.get("tune") or {}))
    if not (run.tests or wanted) or fitted.network is None:
        return costs
    try:
        with costs.phase("serve"):
            measured = serving(run, fitted.network)
        costs |= measured
    except Exception as error:  # noqa: BLE001 -- a secondary measure; the user is told, and the record has no value
        run.say(f"Note: latency and throughput could not be measured ({type(error).__name__}: {error}).")
    return costs


def _failed(error: Exception, spec: RunSpec, log: Log) -> str:
    """Log why a run failed, and return the message.

    Raises:
        HarnessError: the disk is full. This is no result of the run, which resumes from its checkpoint later.
    """
    if is_disk_full(error):
        raise HarnessError(
            f"The disk that holds {spec.paths.directory} is full. Free space; the run continues."
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
    devices: int,
) -> dict[str, Any]:
    """Return the costs of a run, including those of earlier attempts that paused at a rung.

    Args:
        found: costs of this attempt.
        before: costs of earlier attempts; empty if there was none.
        seconds: duration of this attempt.
        device: where it computed; None if that is unknown.
        own: peak memory and energy of this attempt; if a value is None (unknown), so is the total.
        co_located: see `RunBatch`.
        devices: on which it computed.
    """
    total = seconds + before.get("total_seconds", 0.0)
    if before:
        own = {
            name: None
            if value is None or before.get(name) is None
            else _JOIN[COSTS[name].attempts](value, before[name])
            for name, value in own.items()
        }
    costs = found | {"total_seconds": total} | occupied(total, device, co_located, devices)
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
    if known is not None and known.status in (RunStatus.RUNNING, RunStatus.LOST) and known.signature == spec.signature:
        record.started = known.started
        # For a paused run: its costs so far. All others are already counted over all attempts.
        record.cost = {
            name: known.cost[name] for name in joined("carried", "sum", "max") if known.cost.get(name) is not None
        }
    else:
        shutil.rmtree(paths.checkpoint, ignore_errors=True)
        shutil.rmtree(paths.model, ignore_errors=True)
        for file in (paths.predictions, paths.metrics, paths.log):
            file.unlink(missing_ok=True)
    record.started = record.started or now()
    paths.write_config(spec.config)
    record.write(paths.record)
    return record


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise HarnessError(
            f"The run's directory {directory} cannot be written ({error.strerror or error}): correct this, or set "
            "runs_dir=FOLDER."
        ) from error


def explain(error: Exception, config: dict[str, Any]) -> str:
    """Return one message that says why a run failed."""
    if isinstance(error, HarnessError):
        return str(error)
    if _is_out_of_memory(error):
        train = config["train"]
        half = max(int(train["batch_size"]) // 2, 1)
        each = (config.get("launch") or {}).get("devices_per_run", 1)
        if each > half and _trains(config):  # smaller batches are refused
            return (
                f"Out of memory with train.batch_size={train['batch_size']} on {each} devices, which takes {each} rows "
                f"or more. Try a smaller train.eval_batch_size (now {train['eval_batch_size']}) or task.max_length."
            )
        family = family_of_kind(kind_of(config["task"]))
        if family is not None and "train.accumulate" in family.inapplicable:
            return (
                f"Out of memory with train.batch_size={train['batch_size']}. Try train.batch_size={half}, or a smaller "
                f"train.eval_batch_size (now {train['eval_batch_size']}) or task.max_length."
            )
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
