"""What a benchmark is: the same work by ordinary means and by the harness, in turn, after a proof that it is the same.

The stock side is the best ordinary practice: one process a trial, `transformers.Trainer` with PEFT or scikit-learn,
dynamic padding, and the best split of the machine into processes and threads. Both sides start from nothing: the start
of every process counts, and no cache of an earlier measurement is left.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from harness.system.machine import device_name, versions
from harness.system.resources import usable_cores, usable_memory

Say = Callable[[str], None]
PAIRS = 5


@dataclass(frozen=True)
class Measurement:
    """What one side took, once.

    Attributes:
        value: wall seconds from the start of the first process to the end of the last, or what `Benchmark.unit` says.
        facts: JSON-able: what explains the value, such as how the machine was split, or the score that was reached.
    """

    value: float
    facts: dict[str, Any] = field(default_factory=dict)


class Benchmark(ABC):
    """A ratio of what the same work takes, by ordinary means and by the harness.

    Attributes:
        name: as the command line knows it.
        goal: the ratio that is to be reached, stock / ours.
        unit: of both measurements.
        pairs: how often both sides are measured, where the benchmark itself says it; None leaves it to the user.
    """

    name: str
    goal: float
    unit = "seconds"
    pairs: int | None = None

    @abstractmethod
    def parity(self) -> dict[str, Any]:
        """Show that both sides give the same answer: what was measured, and under `ok` whether it is the same."""

    @abstractmethod
    def stock(self) -> Measurement:
        """Do the work by ordinary means, in fresh processes, without caches."""

    @abstractmethod
    def ours(self) -> Measurement:
        """Do the work with the harness, in fresh processes, without caches."""


@dataclass(frozen=True)
class Split:
    """How a machine is divided: so many processes at once, of so many threads each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.threads}"


def splits() -> tuple[Split, ...]:
    """The ways to divide this machine that are worth trying: all processes, all threads, and the halves between."""
    cores = usable_cores()
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return tuple(Split(processes, cores // processes) for processes in counts)


def run_all(commands: Sequence[Sequence[str]], split: Split) -> float:
    """Run programs on the CPU, so many at once; wall seconds from the start of the first to the end of the last.

    Args:
        commands: each an argument list.
        split: how many at once; each learns its threads from OMP_NUM_THREADS.

    Raises:
        subprocess.CalledProcessError: a program failed; what it wrote to standard error is shown.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(split.threads), "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip

    def run(command: Sequence[str]) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n")
            done.check_returncode()

    started = time.perf_counter()
    with ThreadPoolExecutor(split.processes) as pool:
        list(pool.map(run, commands))
    return time.perf_counter() - started


def hold(benchmark: Benchmark, pairs: int, say: Say) -> dict[str, Any]:
    """Let both sides work in turn: stock, ours, stock, ours, ...

    Args:
        benchmark: what is measured.
        pairs: how often both are, unless the benchmark itself says it.
        say: told how far it is.

    Returns:
        A JSON-able result. `ratio` is the median of the pairs' ratios, None where the answers differ: a faster wrong
        answer counts as failure.
    """
    pairs = benchmark.pairs or pairs
    result: dict[str, Any] = {"name": benchmark.name, "ratio": None, "goal": benchmark.goal, "met": False}
    say(f"{benchmark.name}: parity")
    result["parity"] = parity = benchmark.parity()
    result |= {"unit": benchmark.unit, "pairs": pairs, "hardware": hardware()}
    if not parity["ok"]:
        say(f"{benchmark.name}: the answers differ, so nothing is measured: {parity}")
        return result | {"stock_s": None, "ours_s": None}
    stock: list[Measurement] = []
    ours: list[Measurement] = []
    for pair in range(pairs):
        stock.append(benchmark.stock())
        ours.append(benchmark.ours())
        both = stock[-1].value, ours[-1].value
        say(f"{benchmark.name}: pair {pair + 1} of {pairs}: {both[0]:.2f} / {both[1]:.2f} {benchmark.unit}")
    ratios = [a.value / b.value for a, b in zip(stock, ours, strict=True)]
    result["ratio"] = round(statistics.median(ratios), 3)
    result["met"] = statistics.median(ratios) >= benchmark.goal
    return result | {
        "ratios": [round(ratio, 3) for ratio in ratios],
        "stock_s": round(statistics.median(each.value for each in stock), 4),
        "ours_s": round(statistics.median(each.value for each in ours), 4),
        "stock": [{"value": round(each.value, 4)} | each.facts for each in stock],
        "ours": [{"value": round(each.value, 4)} | each.facts for each in ours],
    }


def hardware() -> dict[str, Any]:
    """The machine, and what computes on it."""
    import torch

    known = versions()
    return {
        "cpu": device_name("cpu"),
        "cores": usable_cores(),
        "memory_gib": round((usable_memory() or 0) / 2**30, 1),
        "gpu": device_name("cuda") if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "platform": f"{platform.machine()}, {platform.system()}",
        **{name: known[name] for name in ("python", "torch", "transformers", "peft", "scikit-learn")},
    }
