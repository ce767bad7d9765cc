"""Trials as they are ordinarily run: a process each, as many at once as suits the machine."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.benchmarks.contest import Measurement, Split, run_all, splits
from tests.benchmarks.work import HEAD_LR, Configuration, Work, configurations, minilm

PROGRAM = Path(__file__).with_name("trainer.py")


def run_stock(work: Work, tried: Sequence[Configuration], split: Split | None = None) -> Measurement:
    """Run trials in processes of their own.

    Args:
        work: rows, batch and steps.
        tried: the trials.
        split: of the machine; None takes the one that was measured to be the fastest.

    Returns:
        Wall seconds; `split`, and `accuracy` of each trial on the validation rows.
    """
    split = split or best_split(work)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        train, validation = work.write_rows(directory)
        commands, outputs = [], []
        for number, each in enumerate(tried):
            (directory / str(number)).mkdir()
            outputs.append(directory / str(number) / "result.json")
            commands.append(_command(work, each, train, validation, outputs[-1]))
        seconds = run_all(commands, split)
        found: list[dict[str, Any]] = [json.loads(output.read_text(encoding="utf-8")) for output in outputs]
    assert all(each["steps"] == work.steps for each in found), found
    return Measurement(seconds, {"split": str(split), "accuracy": [each["accuracy"] for each in found]})


@cache
def best_split(work: Work) -> Split:
    """The fastest way to divide this machine into processes and threads, by running a few trials each way."""
    ways = splits()
    tried = configurations(2 * max(way.processes for way in ways))
    return min(ways, key=lambda way: run_stock(work, tried, way).value)


def _command(work: Work, each: Configuration, train: Path, validation: Path, output: Path) -> list[str]:
    options = {
        "model": minilm().path, "train": train, "validation": validation, "output": output, "tokens": work.tokens,
        "batch": work.batch, "epochs": work.epochs, "rank": each.rank, "lr": each.lr,
        "head-lr": HEAD_LR, "seed": each.seed,
    }  # fmt: skip
    return [
        sys.executable,
        str(PROGRAM),
        *(part for key, value in options.items() for part in (f"--{key}", str(value))),
    ]
