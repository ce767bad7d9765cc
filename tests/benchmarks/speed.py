"""How much faster than ordinary practice: `python -m tests.benchmarks.speed [--only NAME] [--pairs N] [--json FILE]`.

The peer is a process a trial, or with `_warm` as many warm processes as suit the machine, on one Optuna journal.
Every benchmark first shows that both sides give the same answer, then measures them in turn (see
`tests.benchmarks.harness_vs_stock`). With --json, each result is written as soon as it is there, in place of an
earlier one of
its name, so that benchmarks can be run at different times.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.records.files import write_json
from tests.benchmarks.asha import Steps, Wall
from tests.benchmarks.frozen import LAST_LAYERS_SWEEP, LINEAR_PROBE_SWEEP
from tests.benchmarks.harness_vs_stock import PAIRS, Benchmark, hold
from tests.benchmarks.lm_trials import LM_TRIALS, LM_TRIALS_WARM
from tests.benchmarks.overhead import Overhead
from tests.benchmarks.trials import MEDIUM_TRIALS, MEDIUM_TRIALS_WARM, SHORT_TRIALS, SHORT_TRIALS_WARM

BENCHMARKS: tuple[Benchmark, ...] = (
    Overhead(),
    Steps(),
    Wall(),
    LINEAR_PROBE_SWEEP,
    LAST_LAYERS_SWEEP,
    SHORT_TRIALS,
    MEDIUM_TRIALS,
    SHORT_TRIALS_WARM,
    MEDIUM_TRIALS_WARM,
    LM_TRIALS,
    LM_TRIALS_WARM,
)  # fmt: skip


def main() -> int:
    """Run the benchmarks that were asked for; 1 if one of them missed its goal."""
    by_name = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(by_name), default=list(by_name), metavar="NAME")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N",
        help="processes that compute beside both sides, as on a shared node; the result has a name of its own",
    )  # fmt: skip
    asked = parser.parse_args()
    met = True
    for name in asked.only:
        with busy(asked.busy):
            result = hold(by_name[name], asked.pairs, lambda line: print(line, file=sys.stderr, flush=True))
        if asked.busy:
            result |= {"name": f"{name}_busy", "busy": asked.busy}
        print(row(result), flush=True)
        met &= result["met"]
        if asked.json:
            write_json(asked.json, merged(asked.json, result))
    return 0 if met else 1


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run so many processes beside, each of which multiplies matrices on one thread without end."""
    command = [
        sys.executable, "-c",
        "import torch; torch.set_num_threads(1); a = torch.rand(512, 512)\nwhile True: a = (a @ a).clamp(0, 1)",
    ]  # fmt: skip
    beside = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for each in beside:
            each.kill()
            each.wait()


def merged(path: Path, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a file with one put in, in place of an earlier one of its name."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = {each["name"]: each for each in known} | {result["name"]: result}
    return [kept[name] for name in sorted(kept)]


def row(result: dict[str, Any]) -> str:
    """A line of the table that is printed."""
    if result["ratio"] is None:
        return f"{result['name']:20} not measured: {result['parity']}"
    spread = f"{min(result['ratios']):.2f} to {max(result['ratios']):.2f}"
    return (
        f"{result['name']:20} {result['ratio']:.2f} x (goal {result['goal']:g}), {spread} in {result['pairs']} pairs; "
        f"{result['stock_s']:.4g} / {result['ours_s']:.4g} {result['unit']}"
    )


if __name__ == "__main__":
    sys.exit(main())
