"""The plan, the live view, the status and the report write a quantity in the same way."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

from rich.console import Console

from harness import formatting
from harness.config.schema import Config
from harness.planning.plan_table import print_estimate
from harness.records.files import write_json
from harness.records.states import CellState
from harness.records.study_files import StudyPaths
from harness.report.analysis.plan_outcome import planned
from harness.status.terminal import ago
from harness.study.live_view import CellView, _footer, _table

ROOT = Path(__file__).resolve().parents[2]
SECONDS, BYTES, MEBIBYTES, DOLLARS = 7020.0, 123_456_789.0, 1600.0, 3.456


def test_one_text_for_a_quantity(tmp_path: Path) -> None:
    """117 minutes, 123 MB, 1.6 GiB and $3.46 read alike, whoever writes them."""
    values = {"dollars": DOLLARS, "peak_memory_mb": MEBIBYTES, "disk_bytes": BYTES}
    cell = {"id": "a.b.c", "trials": 4, "confirmations": 3, "seconds": SECONDS, "source": "earlier runs", **values}
    plan = {
        "cells": [cell], "runs": 7, "done": 0, "run_seconds": SECONDS, "wall_seconds": SECONDS, "low": 60.0,
        "high": 9000.0, "memory_limit_mb": 8192.0, "workers": 1, **values,
    }  # fmt: skip
    console = Console(width=120, record=True, file=io.StringIO())
    print_estimate(console, plan, Config(runs_dir=str(tmp_path)))
    printed = console.export_text()
    write_json(StudyPaths(tmp_path).plan, plan)
    report = planned(tmp_path)
    assert report is not None
    lines = {line.name: line.estimate for line in report.lines}
    wanted = {
        "time of all runs": formatting.duration(SECONDS), "disk": formatting.size(BYTES),
        "peak memory of a run": formatting.memory(MEBIBYTES), "dollars": formatting.dollars(DOLLARS),
    }  # fmt: skip
    assert list(wanted.values()) == ["117 min", "123 MB", "1.6 GiB", "$3.46"]
    for name, text in wanted.items():
        assert text in printed
        assert lines[name] == text
    assert "1.6 GiB of 8.0 GiB, fits." in printed
    assert ago(time.time() - SECONDS) == "117 min ago"
    assert "117 min elapsed, about 2.5 h left" in _footer([], SECONDS, 9000.0).plain


def test_a_score_reads_alike() -> None:
    """The live view writes a score as the report does."""
    cell = CellView("a", CellState.TUNING, 1, 4, 0, 3, 1, 0, 0.865, "accuracy")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(_table([cell]))
    assert formatting.score(0.865, "accuracy", unit=True) == "86.5 %"
    assert "86.5 %" in console.export_text()


def test_no_module_formats_quantities_of_its_own() -> None:
    """Units of time, size and counts of things are written by harness.formatting.values."""
    own = re.compile(
        r"def _?(duration|clock|dollars|plural)\((seconds|value|number)|\} (GB|MB|kB)\b|\{'' if \w+ == 1 else 's'"
    )
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "harness").rglob("*.py"))
        if own.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["harness/formatting/values.py"]
