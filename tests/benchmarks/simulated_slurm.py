"""Studies on a simulated Slurm controller whose runs end at once: what a coordinator itself costs on a large cluster.

    python -m tests.benchmarks.simulated_slurm FACTS -m slurm=gpu [override ...]

is `python -m harness -m slurm=gpu ...` with Slurm's commands answered by a process of this module, which also plays the
nodes: each array task that has a slot leaves the files of its runs (see `tests.benchmarks.fake_runs`). The controller
is a bad one: some answers come late, some never although the command was carried out, and the queue that it lists is a
few seconds old.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import re
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from unittest.mock import patch

from harness.launch.slurm.commands import NoAnswer, SlurmCommands
from harness.launch.slurm.submissions import Jobs, Marker, claim
from harness.records.run_spec import RunBatch
from tests.benchmarks import fake_runs

LATE, LATE_SECONDS = 0.1, 1.0  # share of the commands that are answered late, and by how much at most
DROPPED = 0.02  # share that is carried out, but never answered
STALE_SECONDS = 5.0  # age of the queue that is listed


class Controller:
    """A simulated controller and its nodes.

    Args:
        seed: of the answers that come late or never.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._jobs = 0
        self._names: dict[str, str] = {}  # of the arrays, by id
        self._states: dict[str, str] = {}  # of the tasks that the queue lists, by id
        self._old: deque[tuple[float, dict[str, str]]] = deque([(0.0, {})])  # (time, states)
        self._ready: deque[tuple[str, Jobs, str, int]] = deque()  # (id, jobs, token, task)
        self._batches: dict[str, list[RunBatch]] = {}
        self._lock = threading.Lock()

    def serve(self, address: str) -> None:
        """Answer commands until the client goes."""
        with Listener(address, "AF_UNIX") as listener, listener.accept() as client:
            threading.Thread(target=self._live_and_die, daemon=True).start()
            while True:
                try:
                    command, script = client.recv()
                except EOFError:
                    return
                with self._lock:
                    answer = self._answer(command, script)
                if self._random.random() < LATE:
                    time.sleep(self._random.uniform(0, LATE_SECONDS))
                client.send(None if self._random.random() < DROPPED else answer)

    def _answer(self, command: tuple[str, ...], script: str) -> str:
        if command[0] == "sbatch":
            return "" if "--test-only" in command else self._submit(script)
        if command[0] == "squeue":
            return "\n".join(self._listed())
        if command[0] == "scancel":
            for each in command[1:]:
                self._states.pop(each, None)
        return "MaxArraySize = 1001" if command[:3] == ("scontrol", "show", "config") else ""

    def _submit(self, script: str) -> str:
        self._jobs += 1
        job = str(self._jobs)
        name = re.search(r"--job-name=(\S+)", script)
        array = re.search(r"--array=0-(\d+)", script)
        folder = re.search(r"-m harness\.launch\.slurm\.worker (\S+) (\w+)", script)
        assert name is not None and array is not None and folder is not None, script
        self._names[job] = name[1]
        for task in range(int(array[1]) + 1):
            self._states[f"{job}_{task}"] = "PENDING"
            self._ready.append((f"{job}_{task}", Jobs(Path(folder[1])), folder[2], task))
        return job

    def _listed(self) -> Iterable[str]:
        now = time.monotonic()
        self._old.append((now, dict(self._states)))
        while len(self._old) > 1 and self._old[1][0] <= now - STALE_SECONDS:
            self._old.popleft()
        return [f"{id_}|{state}|None|node1|{self._names[id_.split('_')[0]]}" for id_, state in self._old[0][1].items()]

    def _live_and_die(self) -> None:
        """End the controller, too, if its nodes fail: a queue that no longer moves would be waited for."""
        try:
            self._play_nodes()
        finally:
            traceback.print_exc()
            os._exit(1)

    def _play_nodes(self) -> None:
        """Execute the tasks one after another; a real cluster executes as many as it has slots for."""
        while True:
            with self._lock:
                item = self._ready.popleft() if self._ready else None
                if item is not None and self._states.get(item[0]) is None:
                    continue  # cancelled
            if item is None:
                time.sleep(0.01)
                continue
            id_, jobs, token, task = item
            if token not in self._batches:
                try:
                    self._batches = {token: jobs.batches(token)}
                except FileNotFoundError:
                    continue  # closed: it was submitted twice
            for number, spec in enumerate(self._batches[token][task].runs):
                if claim(spec.paths.directory, token, 0):
                    fake_runs.leave(spec)
                    jobs.mark(Marker(token, task, "run", number))
            with self._lock:
                self._states.pop(id_, None)


def serve(address: str) -> None:
    """Be the controller, in a process of its own."""
    Controller().serve(address)


def run(facts: Path) -> None:
    """Run the command line's study against a simulated controller; see `fake_runs.run`."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/controller"
        controller = importlib.import_module("tests.benchmarks.simulated_slurm")  # also where this one is __main__
        process = multiprocessing.get_context("spawn").Process(target=controller.serve, args=(address,), daemon=True)
        process.start()
        while not Path(address).exists():
            if process.exitcode is not None:
                raise RuntimeError(f"The simulated controller ended with exit code {process.exitcode}.")
            time.sleep(0.05)
        client: Connection = Client(address, "AF_UNIX")
        asking = threading.Lock()

        def call(commands: SlurmCommands, *command: str, without: Iterable[str] = ()) -> str:
            del without
            commands.calls[command[0]] = commands.calls.get(command[0], 0) + 1
            script = Path(command[-1]).read_text(encoding="utf-8") if command[0] == "sbatch" else ""
            try:
                with asking:
                    client.send((command, script))
                    answer: str | None = client.recv()
            except (EOFError, OSError) as error:
                raise RuntimeError("The simulated controller has died.") from error
            if answer is None:
                raise NoAnswer(f"{command[0]} did not answer.")
            return answer

        with patch.object(SlurmCommands, "_call", call):
            fake_runs.run(facts, local=False)


if __name__ == "__main__":
    run(Path(sys.argv.pop(1)))
