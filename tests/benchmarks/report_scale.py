"""How reports scale: `python -m tests.benchmarks.report_scale [--runs N] [--json FILE]`.

- table: load, rows and a CSV line a row for a study of N runs, from Parquet and from JSON, in turn in one process.
- compaction: what loading takes longer after 10 new runs, with N and with a tenth of the runs there before.
- page: bytes of index.html for the study of N runs, and seconds to write the whole report.
- summaries: 1,000,000 rows in 100 data sets of parts, grouped by method with pandas.

Seconds are wall-clock beyond imports, the best of several.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness.records.record import Record
from harness.report import load, rows, write
from harness.report.reading import parquet as compact
from tests.report.conftest import FACTS, PROVENANCE, STARTED, Builder, asked

CELLS = 40


def cell_of(number: int) -> str:
    return f"banking77.minilm.m{number % CELLS:02d}"


def make(study: Builder, first: int, last: int) -> None:
    """Write runs first to last, spread over the cells; one in twenty-five confirms."""
    draw = random.Random(first)
    for number in range(first, last):
        confirms = number // CELLS % 25 == 24
        scores = {name: draw.random() for name in ("accuracy", "macro_f1", "weighted_f1", "mcc", "loss", "ece")}
        cost = {f"{name}_seconds": draw.uniform(1, 9) for name in ("train", "total", "core", "data", "model", "save")}
        cost |= {"params_trainable": 177101, "params_total": 22713216, "peak_memory_mb": 900.0, "threads": 1}
        study.run(
            cell_of(number), f"r{number:07d}", phase="confirm" if confirms else "tune", seed=number if confirms else 0,
            trial=None if confirms else number, hyperparameters={"train.lr": 0.01 if confirms else draw.random()},
            metrics={"val": scores, "test": scores if confirms else {}}, cost=cost, data=FACTS,
            provenance=PROVENANCE | {"job_id": str(number)},
        )  # fmt: skip


def table(directory: Path) -> str:
    found = rows(load(directory))
    return "\n".join(f"{row.cell.id},{row.test_mean},{row.test_std},{row.costs}" for row in found)


def seconds(function: Callable[[], Any], times: int = 5) -> float:
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def from_json(directory: Path) -> str:
    """The same table with nothing compacted, and without the copy of sweep.yaml."""
    folder = directory / "records.parquet"
    hidden = folder.rename(folder.with_name("hidden"))
    folder.touch()  # nothing can be compacted
    try:
        return table(directory)
    finally:
        folder.unlink()
        hidden.rename(folder)


def after_new(study: Builder, have: int) -> tuple[float, float]:
    """Seconds to write the parts after 10 new runs: (mean, largest) of ten times."""
    spent: list[float] = []
    write = compact._write

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        write(*arguments)
        spent.append(time.perf_counter() - started)

    with patch.object(compact, "_write", timed):
        for batch in range(10):
            make(study, have + 10 * batch, have + 10 * batch + 10)
            load(study.directory)
    return sum(spent) / len(spent), max(spent)


def summaries(directory: Path) -> float:
    import pandas
    from pyarrow import parquet

    record = Record("s", "ok", "study", "cell", "confirm", "task", "model", "method", 0)
    draw = random.Random(0)
    pairs = []
    for number in range(10_000):
        method = f"m{number % 20:02d}"
        metrics = {"val": {}, "test": {"accuracy": draw.random()}}
        values = vars(record) | {"method": method, "seed": number, "metrics": metrics, "started": STARTED}
        pairs.append(((f"{method}/{number}", number, 1), Record(**values)))
    part = compact.table_of(pairs)
    paths = [directory / f"{number:03d}.parquet" for number in range(100)]
    for path in paths:
        parquet.write_table(part, path, compression="zstd")

    def group() -> None:
        frame = pandas.read_parquet(directory, columns=["method", "test_accuracy"])
        assert len(frame) == 1_000_000
        assert len(frame.groupby("method").test_accuracy.agg(["mean", "std", "count"])) == 20

    return seconds(group, 3)


def measure(runs: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        study, small = Builder(Path(name) / "large"), Builder(Path(name) / "small")
        for each in (study, small):
            each.sweep([asked(cell_of(number)) for number in range(CELLS)])
        make(study, 0, runs)
        make(small, 0, runs // 10)
        load(study.directory), load(small.directory)
        assert table(study.directory) == from_json(study.directory)
        parquet_seconds, json_seconds = float("inf"), float("inf")
        for _ in range(3):  # in turn, so that other work on the machine meets both
            parquet_seconds = min(parquet_seconds, seconds(lambda: table(study.directory), 2))
            json_seconds = min(json_seconds, seconds(lambda: from_json(study.directory), 1))
        page_seconds = seconds(lambda: write(study.directory, Path(name) / "report"), 1)
        page_bytes = (Path(name) / "report" / "index.html").stat().st_size
        large_mean, _ = after_new(study, runs)
        small_mean, _ = after_new(small, runs // 10)
        (Path(name) / "million").mkdir()
        grouped = summaries(Path(name) / "million")
    ratio, growth = json_seconds / parquet_seconds, large_mean / small_mean
    return [
        {"name": f"table of {runs} runs from Parquet, seconds", "value": round(parquet_seconds, 3), "goal": "<= 0.3",
         "met": parquet_seconds <= 0.3, "from_json_seconds": round(json_seconds, 3)},
        {"name": "times faster than from JSON", "value": round(ratio, 1), "goal": ">= 5", "met": ratio >= 5},
        {"name": f"page of {runs} runs, MB", "value": round(page_bytes / 1e6, 2), "goal": "<= 10",
         "met": page_bytes <= 10e6, "whole_report_seconds": round(page_seconds, 1)},
        {"name": "compaction after 10 new runs, ten times the records there before: times as long",
         "value": round(growth, 2), "goal": "<= 2", "met": growth <= 2, "seconds": round(large_mean, 4)},
        {"name": "group-by over 1,000,000 summaries, seconds", "value": round(grouped, 3), "goal": "<= 1",
         "met": grouped <= 1},
        {"name": "hardware", "value": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"},
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = measure(arguments.runs)
    for result in results:
        print(*(f"{key}: {value}" for key, value in result.items()), sep="; ")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
