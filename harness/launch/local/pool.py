"""A pool of warm worker processes on this machine.

Each worker imports the heavy libraries once and executes batch after batch. A worker that dies or hangs is replaced,
and only the runs of its batch are lost. Uses multiprocessing's forkserver (all workers and replacements share one
import) and `connection.wait`, which reports results, deaths and timeouts without polling. For the alternatives that
were tried see docs/decisions/local-pool-on-multiprocessing.md.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from harness.errors import PEERS_LOST
from harness.launch.base import Job, Launcher, Outcome, use_threads
from harness.records.files import last_changed
from harness.records.run_spec import RunBatch

DEATH_SECONDS = 10.0  # how long the cause of a death is looked for among the processes of a worker


@dataclass(frozen=True)
class _LastWords:
    """Why a rank ended whose exchange with the others failed: mostly since one of them died."""

    text: str


@dataclass
class _Worker:
    """A slot of the pool: its current process and job.

    Attributes:
        process, connection: of the process that executes batches.
        others: of the processes that train along with it, each on a device of its own.
        job: what it executes.
        deadline: when the job counts as hung.
        heard: time of the last file that a run of the job wrote, by the clock of the file system.
    """

    process: BaseProcess
    connection: Connection
    others: list[tuple[BaseProcess, Connection]] = field(default_factory=list)
    job: Job | None = None
    deadline: float = field(default=float("inf"))
    heard: float = 0.0

    @property
    def members(self) -> list[tuple[BaseProcess, Connection]]:
        """All its processes, by rank."""
        return [(self.process, self.connection), *self.others]


class LocalLauncher(Launcher):
    """Executes run batches in warm worker processes.

    Args:
        workers: number of processes.
        threads: CPU threads of each.
        timeout_min: minutes after which a run's worker counts as hung and is killed; None: never. For a batch of
            several runs: minutes in which none of them writes a record or a metric.
        gpus: CUDA device ids; each process sees one of them, in turn. Empty: device visibility is not changed.
        module: module whose `execute` function gets the batches.
        devices: processes of a worker, which train each run together (`harness.training.ranks`).
    """

    fuses = True

    def __init__(
        self,
        workers: int,
        threads: int,
        timeout_min: float | None,
        gpus: tuple[str, ...] = (),
        module: str = "harness.runs.execute",
        devices: int = 1,
    ) -> None:
        self.capacity = workers
        self.co_located = math.ceil(workers * devices / max(1, len(gpus)))
        self._devices = devices
        self._module = module
        self._threads = threads
        self._timeout = None if timeout_min is None else 60 * timeout_min
        self._gpus = gpus
        self._waiting: list[Job] = []
        self._context = _context(threads)
        self._workers = [self._start(slot) for slot in range(workers)]

    def submit(self, batch: RunBatch) -> Job:
        """Send the batch to an idle worker, or queue it until one is idle."""
        job = Job(batch)
        self._waiting.append(job)
        self._dispatch()
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that ended since the last call, waiting up to `seconds` for one."""
        now = time.monotonic()
        busy = [worker for worker in self._workers if worker.job]
        nearest = min((worker.deadline for worker in busy), default=float("inf"))
        seconds = max(0.0, min(seconds, nearest - now))
        # A worker's connection becomes readable when the worker answers and when it dies.
        ready = set(wait([connection for worker in self._workers for _, connection in worker.members], seconds))
        outcomes: list[Outcome] = []
        for slot, worker in enumerate(self._workers):
            if any(connection in ready for _, connection in worker.members):
                lost = self._answer(worker)
            elif worker.job and time.monotonic() >= worker.deadline:
                if self._extend_deadline(worker):
                    continue
                lost = self._hung(worker.job)
            else:
                continue
            if worker.job:
                outcomes.append(Outcome(worker.job, lost))
                worker.job, worker.deadline = None, float("inf")
            if lost is not None:
                _end(worker)
                self._workers[slot] = self._start(slot)
        self._dispatch()
        return outcomes

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def _start(self, slot: int) -> _Worker:
        count, port = self._devices, _free_port() if self._devices > 1 else 0
        members: list[tuple[BaseProcess, Connection]] = []
        for rank in range(count):
            ours, theirs = self._context.Pipe()
            gpu = self._gpus[(slot * count + rank) % len(self._gpus)] if self._gpus else None
            place = {
                "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            } if count > 1 else {}  # fmt: skip
            process = self._context.Process(
                target=_work, args=(theirs, self._threads, gpu, self._module, place),
                name=f"harness-worker-{slot}" + (f"-{rank}" if count > 1 else ""), daemon=True,
            )  # fmt: skip
            process.start()
            theirs.close()
            members.append((process, ours))
        return _Worker(*members[0], members[1:])

    def _dispatch(self) -> None:
        for worker in self._workers:
            if worker.job is None and self._waiting:
                job = self._waiting.pop(0)
                worker.job = job
                if self._timeout is not None:
                    worker.deadline, worker.heard = time.monotonic() + self._timeout, time.time()
                try:
                    worker.connection.send(job.batch)
                except OSError:
                    # The worker died while idle; `wait` detects that, reports the job as lost and replaces the worker.
                    continue

    def _extend_deadline(self, worker: _Worker) -> bool:
        """Extend the deadline of a batch of several runs if one has written something since it was set."""
        job, timeout = worker.job, self._timeout
        if job is None or timeout is None or len(job.batch.runs) == 1 or (last := _last_written(job)) <= worker.heard:
            return False
        worker.deadline, worker.heard = time.monotonic() + timeout - max(0.0, time.time() - last), last
        return worker.deadline > time.monotonic()

    def _hung(self, job: Job) -> str:
        limit = f"launch.timeout_min={(self._timeout or 0) / 60:g}"
        if len(job.batch.runs) == 1:
            return f"It took longer than {limit} and was killed."
        return f"No run of its batch wrote a record or a score for longer than {limit}, and their process was killed."

    @staticmethod
    def _answer(worker: _Worker) -> str | None:
        """Return why the worker cannot go on; None if its job has ended."""
        if worker.connection.poll():
            try:
                answer = worker.connection.recv()
                if not isinstance(answer, _LastWords):
                    return None if answer is None else str(answer)
                return _cause(worker, answer.text)
            except (EOFError, OSError):
                pass
        return _cause(worker)


def _cause(worker: _Worker, words: str = "") -> str:
    """Return why a process of the worker died, which the others follow.

    Args:
        worker: with a dead process, or one that cannot go on.
        words: last ones of rank 0, whose connection has been read.
    """
    deadline = time.monotonic() + DEATH_SECONDS
    while True:
        waits = False
        for rank, (process, connection) in enumerate(worker.members):
            who = f"rank {rank} of {len(worker.members)}" if worker.others else "process"
            with suppress(EOFError, OSError):
                while (rank or process.exitcode is not None) and connection.poll():
                    answer = connection.recv()
                    if not isinstance(answer, _LastWords):
                        return f"Its {who} failed: {answer}"
                    words = words or answer.text
            process.join(0.05)
            code = process.exitcode
            if code is None:
                waits = True
            elif code == PEERS_LOST:
                waits |= not words  # they are sent before the end, and read in the next round at the latest
            elif code < 0:
                name = signal.Signals(-code).name
                hint = " (the operating system does this when memory runs out)" if name == "SIGKILL" else ""
                return f"Its {who} was killed by {name}{hint}."
            else:
                return f"Its {who} ended with exit code {code}{f' ({words})' if words else ''}."
        if not waits or time.monotonic() >= deadline:
            codes = [process.exitcode for process, _ in worker.members]
            return f"Its processes ended with exit codes {codes}{f' ({words})' if words else ''}."


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _last_written(job: Job) -> float:
    """Return when a run of the job last wrote its record or a metric; 0 if none did."""
    return max(last_changed(path) for run in job.batch.runs for path in (run.paths.record, run.paths.metrics))


def start_server(threads: int) -> None:
    """Start the workers' imports in the background, before the launcher is made.

    Args:
        threads: CPU threads of a worker.
    """
    if isinstance(_context(threads), ForkServerContext):
        forkserver.ensure_running()


def _context(threads: int) -> ForkServerContext | SpawnContext:
    # OpenMP, BLAS and the tokenizers read these when they load, which happens in the workers or their fork server.
    os.environ.update(OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false")
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.launch.local.preload"])
    return context


def _end(worker: _Worker) -> None:
    for process, _ in worker.members:
        process.kill()
    for process, connection in worker.members:
        process.join()
        connection.close()


def _work(connection: Connection, threads: int, gpu: str | None, module: str, place: dict[str, int | str]) -> None:
    """Run a worker: execute each batch received and answer None, or a message if the batch could not be executed.

    Args:
        connection: to the coordinator.
        threads: CPU threads.
        gpu: the one that it sees; None: all.
        module: whose `execute` it calls, or `follow` with another rank than 0.
        place: its rank among those that train together, as torchrun's environment variables; empty: it is alone.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # both reach the whole group; the coordinator decides what to do
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    fuses: queue.SimpleQueue[RunBatch] = queue.SimpleQueue()

    def listen() -> None:
        # The coordinator holds the other end, so this process exits when the coordinator dies for whatever reason.
        try:
            while True:
                fuses.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    use_threads(threads)
    program = importlib.import_module(module)
    if place:
        from harness.training.ranks import current, join, last_words

        os.environ.update({name: str(value) for name, value in place.items()})
        last_words.append(lambda words: connection.send(_LastWords(words)))
        try:
            join()
            if not current().leads:
                program.follow()
        except Exception as error:  # noqa: BLE001 - as below
            connection.send(f"{type(error).__name__}: {error}")
            return
        if not current().leads:
            return
    execute = program.execute

    while True:
        batch = fuses.get()
        answer = None
        try:
            execute(batch, interrupted=lambda: False)
        except Exception as error:  # noqa: BLE001 - whatever escapes `execute` is reported, not lost with the worker
            answer = f"Its worker failed: {type(error).__name__}: {error}"
        connection.send(answer)
