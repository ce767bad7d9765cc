"""Both sides of a benchmark as programs: stock ones, a process a trial, and a study by the command line."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.records.record import Record
from harness.system.resources import usable_cores
from tests.benchmarks.harness_vs_stock import Split, run_all
from tests.benchmarks.workload import minilm

STOCK = Path(__file__).with_name("stock")


def run_stock(program: str, options: Sequence[Mapping[str, Any]], split: Split) -> tuple[float, list[dict[str, Any]]]:
    """Run a program of `stock` on MiniLM once with each set of options.

    Args:
        program: the name of its file.
        options: without their dashes; a tuple gives an option several values, True is an option without one.
        split: of the machine.

    Returns:
        Wall seconds, and what each run wrote.
    """
    with tempfile.TemporaryDirectory() as name:
        outputs = [Path(name) / str(number) / "result.json" for number in range(len(options))]
        commands = []
        for each, output in zip(options, outputs, strict=True):
            output.parent.mkdir()
            command = [sys.executable, str(STOCK / program)]
            for key, value in {"model": minilm().path, "output": output, **each}.items():
                values = () if value is True else value if isinstance(value, tuple) else (value,)
                command += [f"--{key}", *map(str, values)]
            commands.append(command)
        seconds = run_all(commands, split)
        return seconds, [json.loads(output.read_text(encoding="utf-8")) for output in outputs]


def run_study(directory: Path, overrides: Sequence[str], name: str = "measured") -> tuple[float, list[Record]]:
    """Run a study on the CPU in a fresh process with an empty cache, to its report.

    Args:
        directory: for its runs, reports and cache.
        overrides: further ones.
        name: of the study, on which its random draws depend.

    Returns:
        Wall seconds, and its records, by directory.
    """
    places = [f"{each}={directory / each}" for each in ("runs_dir", "reports_dir", "cache_dir")]
    command = [sys.executable, "-m", "harness", "-m", f"study={name}", "device=cpu", *places, *overrides]
    seconds = run_all([command], Split(1, usable_cores()))
    found = [Record.read(path) for path in sorted(directory.glob(f"runs_dir/{name}/runs/*/*/record.json"))]
    records = [record for record in found if record is not None]
    assert records and all(each.status in ("ok", "pruned") for each in records), [each.error for each in records]
    return seconds, records
