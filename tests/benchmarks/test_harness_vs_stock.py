from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.harness_vs_stock import Benchmark, Measurement, Split, hold, run_all, splits
from tests.benchmarks.speed import merged, row


class Told(Benchmark):
    """A benchmark that measures what it is told."""

    name, goal = "told", 3.0

    def __init__(self, stock: list[float], ours: list[float], ok: bool = True) -> None:
        self.left = {"stock": stock, "ours": ours}
        self.order: list[str] = []
        self.ok = ok

    def parity(self) -> dict[str, Any]:
        return {"ok": self.ok, "difference": 0.0 if self.ok else 0.3}

    def stock(self) -> Measurement:
        return self._next("stock")

    def ours(self) -> Measurement:
        return self._next("ours")

    def _next(self, side: str) -> Measurement:
        self.order.append(side)
        return Measurement(self.left[side].pop(0), {"side": side})


def test_both_sides_work_in_turn_and_the_median_of_the_pairs_is_the_ratio() -> None:
    """A slow moment of the machine meets both sides of a pair, and one odd pair moves nothing."""
    benchmark = Told([8.0, 40.0, 9.0], [2.0, 10.0, 9.0])
    result = hold(benchmark, 3, print)
    assert benchmark.order == ["stock", "ours"] * 3
    assert result["ratios"] == [4.0, 4.0, 1.0]
    assert (result["ratio"], result["met"]) == (4.0, True)
    assert (result["stock_s"], result["ours_s"]) == (9.0, 9.0)
    assert result["hardware"]["cores"] >= 1
    assert "4.00 x (goal 3)" in row(result)


def test_a_different_answer_is_a_failure_whatever_its_speed() -> None:
    """Where the parity gate fails nothing is measured, and the result says why."""
    benchmark = Told([], [], ok=False)
    result = hold(benchmark, 3, print)
    assert (result["ratio"], result["met"], benchmark.order) == (None, False, [])
    assert "not measured" in row(result)


def test_results_of_different_times_stand_in_one_file(tmp_path: Path) -> None:
    """A result takes the place of an earlier one of its name and leaves the others."""
    path = tmp_path / "speed.json"
    for name, ratio in (("b", 1.0), ("a", 2.0), ("b", 3.0)):
        path.write_text(json.dumps(merged(path, {"name": name, "ratio": ratio})), encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == [{"name": "a", "ratio": 2.0}, {"name": "b", "ratio": 3.0}]


def test_programs_share_the_machine_as_the_split_says(tmp_path: Path) -> None:
    """Each program learns its threads; one that fails ends the measurement with what it said."""
    write = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['OMP_NUM_THREADS'])"
    files = [tmp_path / str(number) for number in range(3)]
    assert run_all([[sys.executable, "-c", write, str(file)] for file in files], Split(2, 5)) > 0
    assert [file.read_text(encoding="utf-8") for file in files] == ["5"] * 3
    with pytest.raises(Exception, match="non-zero exit status 3"):
        run_all([[sys.executable, "-c", "raise SystemExit(3)"]], Split(1, 1))
    assert Split(1, splits()[0].threads) in splits()
