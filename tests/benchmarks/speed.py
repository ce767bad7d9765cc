"""How much faster than ordinary practice: `python -m tests.benchmarks.speed [--only NAME] [--pairs N] [--json FILE]`.

Every benchmark first shows that both sides give the same answer, then measures them in turn (see
`tests.benchmarks.harness_vs_stock`). With --json, each result is written as soon as it is there, in place of an
earlier one of
its name, so that benchmarks can be run at different times.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from harness.records.files import write_json
from tests.benchmarks.asha import Steps, Wall
from tests.benchmarks.frozen import LAST_LAYERS_SWEEP, LINEAR_PROBE_SWEEP
from tests.benchmarks.harness_vs_stock import PAIRS, Benchmark, hold
from tests.benchmarks.lm_trials import LM_TRIALS, LM_TRIALS_WARM
from tests.benchmarks.overhead import Overhead
from tests.benchmarks.trials import MEDIUM_TRIALS, SHORT_TRIALS

BENCHMARKS: tuple[Benchmark, ...] = (
    Overhead(),
    Steps(),
    Wall(),
    LINEAR_PROBE_SWEEP,
    LAST_LAYERS_SWEEP,
    SHORT_TRIALS,
    MEDIUM_TRIALS,
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
    asked = parser.parse_args()
    met = True
    for name in asked.only:
        result = hold(by_name[name], asked.pairs, lambda line: print(line, file=sys.stderr, flush=True))
        print(row(result), flush=True)
        met &= result["met"]
        if asked.json:
            write_json(asked.json, merged(asked.json, result))
    return 0 if met else 1


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
