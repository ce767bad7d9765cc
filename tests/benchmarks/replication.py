"""What adaptive replication saves and whether it decides alike, replayed over a study with many seeds a cell.

    python -m tests.benchmarks.replication STUDY [--orders 200] [--json FILE]

The study's seeds are put into random orders; each order is replayed as an adaptive study would have met it, and its
verdicts are compared with those of all seeds together.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.schema import ConfirmConfig, ReportConfig
from harness.report.cells.cell_summary import rows
from harness.report.cells.row_predictions import read_predictions
from harness.report.reading.study import load
from harness.statistics import compare, sequential
from harness.study.replication import plan_looks

AGREE, SHARE = 0.90, 0.50  # goals: verdicts that agree at least, and runs at most


def replay(cells: dict[str, Any], orders: int, begin: int, margin: float, alpha: float) -> dict[str, Any]:
    """Replay random orders of the seeds.

    Args:
        cells: (S, n) scores a cell, S the same for all.
        orders: how many.
        begin: seeds at the first look.
        margin, alpha: see `harness.statistics.compare`.
    """
    names, scores = list(cells), list(cells.values())
    seeds = len(scores[0])
    whole = [verdict.word for verdict in compare(scores, margin, alpha).verdicts]
    plan = plan_looks(ConfirmConfig(seeds=begin, max_seeds=seeds), begin)
    generator = np.random.default_rng(0)
    agreed = np.zeros((orders, len(scores)), dtype=bool)
    runs = np.zeros(orders)
    words: list[Counter[str]] = [Counter() for _ in names]
    for order in range(orders):
        shuffled = [each[generator.permutation(seeds)] for each in scores]
        found = sequential(shuffled, plan, margin, alpha)
        agreed[order] = [verdict.word == word for verdict, word in zip(found.verdicts, whole, strict=True)]
        runs[order] = sum(found.looks[-1].seeds)
        for counter, verdict in zip(words, found.verdicts, strict=True):
            counter[verdict.word] += 1
    return {
        "plan": plan,
        "cells": {
            name: {"all_seeds": word, "replayed": dict(counter), "agree": float(share)}
            for name, word, counter, share in zip(names, whole, words, agreed.mean(axis=0), strict=True)
        },
        "agree": float(agreed.mean()),
        "agree_goal": AGREE,
        "whole_table_agrees": float(agreed.all(axis=1).mean()),
        "contradictions": sum(
            count
            for word, counter in zip(whole, words, strict=True)
            for other, count in counter.items()
            if {word, other} == {"worse", "better"} or {word, other} == {"worse", "not worse"}
        )
        / (orders * len(names)),
        "runs_share": float(runs.mean() / (seeds * len(scores))),
        "runs_goal": SHARE,
        "orders": orders,
        "seeds": seeds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "study", type=Path, help="directory or archive of a study with the same many seeds for every cell"
    )
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--begin", type=int, default=3, help="seeds at the first look")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {
        row.cell.method: read_predictions(row).scores for row in rows(load(options.study)) if row.test_mean is not None
    }
    most = max(map(len, found.values()))
    cells = {name: scores for name, scores in found.items() if len(scores) == most}
    report = ReportConfig()
    result = replay(cells, options.orders, options.begin, report.margin, 1 - report.confidence)
    for name, cell in result["cells"].items():
        print(f"{name:14} all seeds: {cell['all_seeds']:11} replayed: {cell['replayed']}")
    print(f"verdicts that agree: {result['agree']:.1%} (goal {AGREE:.0%}); contradict: {result['contradictions']:.1%}")
    print(f"runs: {result['runs_share']:.1%} of {most} seeds for every cell (goal {SHARE:.0%} at most)")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
