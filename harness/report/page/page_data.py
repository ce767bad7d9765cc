"""Data of every run, as compact JSON that the page's script shows on demand: HTML would be ten times as large.

Configurations are stored as differences: that of a cell's confirmed run from the first cell's, that of a run from its
cell's.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from harness import formatting
from harness.formatting.escape import json_text, lines, plain
from harness.records.states import Phase, RunStatus
from harness.report.cells.cell_summary import CellSummary, metric, number
from harness.report.page import cell_details as inside
from harness.report.reading.runs import Run
from harness.report.reading.study import Cell

BYTES = 5_000_000  # maximum size of a page's JSON
RUNS = 20_000  # maximum number considered: more would not fit
_CONFIG, _ERROR, _VALUE = 20_000, 4_000, 300  # maximum characters of one text

Edit = tuple[int, int, list[str]]  # first line, last line (exclusive), and their replacement


@dataclass
class Details:
    """Data of cells and their runs for the page's script.

    Attributes:
        content: JSON-serializable; its keys are documented where they are made.
        left_out: what did not fit and where it is, in sentences.
    """

    content: dict[str, Any]
    left_out: list[str] = field(default_factory=list)


def details(rows: Sequence[CellSummary], budget: int = BYTES) -> Details:
    """Collect the data of each row's cell and its runs.

    Args:
        rows: in the order of the table.
        budget: bytes of JSON; beyond it, first the configurations of ordinary tuning runs are left out, then runs.
    """
    texts, errors, provenance = _Texts(), _Pool(), _Pool()
    share = max(RUNS // max(len(rows), 1), 20)
    cells = [_cell(row, share, texts, errors, provenance) for row in rows]
    content = {
        "cells": cells, "errors": errors.items, "provenance": provenance.items, "config": texts.first,
        "box": [inside.WIDTH, inside.HEIGHT],
    }  # fmt: skip
    empty = {**content, "cells": [{**cell, "runs": [], "omitted": 10**6} for cell in cells]}
    room = budget - len(json_text(empty).encode())
    return Details(content, _fit(cells, room))


def _fit(cells: list[dict[str, Any]], room: int) -> list[str]:
    """Leave out what exceeds the room, the least informative first."""
    said = []
    total = sum(map(_size, cells))
    if total > room:
        dropped = 0
        for cell in cells:
            for run in cell["runs"]:
                if (
                    run["phase"] == Phase.TUNE
                    and run["status"] in (RunStatus.OK, RunStatus.PRUNED)
                    and run.pop("config", None) is not None
                ):
                    dropped += 1
        if dropped:
            said.append(
                f"The configurations of {formatting.plural(dropped, 'tuning run')} are left out to keep this page "
                "small; "
                "each lies in its run's directory, config.yaml."
            )
        total = sum(map(_size, cells))
    if total > room:
        sizes = [list(accumulate(len(json_text(run).encode()) + 1 for run in cell["runs"])) for cell in cells]
        # Keep the same number of runs of every cell, as many as fit.
        most = max((len(size) for size in sizes), default=0)
        kept = bisect_right(range(most), room, key=lambda n: sum(s[min(n, len(s)) - 1] for s in sizes if s and n)) - 1
        for cell in cells:
            cell["omitted"] += max(0, len(cell["runs"]) - max(kept, 0))
            del cell["runs"][max(kept, 0) :]
    gone = sum(cell["omitted"] for cell in cells)
    if gone:
        said.append(
            f"{formatting.plural(gone, 'run')} {'is' if gone == 1 else 'are'} left out to keep this page small: "
            "shown are "
            "confirmations, failures and the best trials of each cell. Each run's record.json has all of it."
        )
    for cell in cells:
        cell["runs"].sort(key=lambda run: run["order"])
    return said


def _size(cell: Mapping[str, Any]) -> int:
    return len(json_text(cell["runs"]).encode())


def _telling(row: CellSummary) -> list[int]:
    """Order a cell's runs by their importance to a reader: confirmations, failures, then trials by score."""
    name = row.cell.metric

    def rank(index: int) -> tuple[int, bool, float]:
        run = row.cell.runs[index]
        kind = (
            0
            if run.phase in (Phase.CONFIRM, Phase.SINGLE)
            else 2
            if run.status in (RunStatus.OK, RunStatus.PRUNED)
            else 1
        )
        score = run.metric("val", name)
        return kind, score is None, -row.better(score or 0.0)

    return sorted(range(len(row.cell.runs)), key=rank)


def _cell(row: CellSummary, most: int, texts: _Texts, errors: _Pool, provenance: _Pool) -> dict[str, Any]:
    cell = row.cell
    chosen = _telling(row)[:most]
    runs = [cell.runs[index] for index in chosen]
    keys = list(dict.fromkeys(key for run in runs for key in run.record.hyperparameters))
    base = next((text for run in runs if (text := _config(run.paths.config)) is not None), None)
    before = None if base is None else base.splitlines()
    counted = {id(record) for record in row.evaluated}
    return {
        "error": lines(row.error, _ERROR) if row.error else None,
        "tuned": [
            [plain(key, 80), plain(formatting.setting(value), _VALUE), _space(cell, key)]
            for key, value in row.hyperparameters.items()
        ],
        "metrics": [[plain(label, 60), val, test] for label, val, test in inside.metrics(row)],
        "costs": [[plain(key, 60), plain(value, 120)] for key, value in inside.costs(row)],
        "provenance": provenance.place([[plain(k, 80), plain(v, 200)] for k, v in inside.provenance(row)]),
        "trace": inside.trace(row),
        "unreadable": cell.unreadable,
        "keys": [plain(key, 80) for key in keys],
        "config": texts.edits(base),
        "omitted": len(cell.runs) - len(runs),
        "runs": [
            {"order": index, **_run(run, cell.metric, keys, counted, before, errors)}
            for index, run in zip(chosen, runs, strict=True)
        ],
    }


def _run(
    run: Run, name: str, keys: Sequence[str], counted: Set[int], base: Sequence[str] | None, errors: _Pool
) -> dict[str, Any]:
    """Return a run's data; unknown values have no key."""
    record = run.record
    values = [formatting.setting(record.hyperparameters[k]) if k in record.hyperparameters else "" for k in keys]
    superseded = record.phase == Phase.CONFIRM and record.status == RunStatus.OK and id(record) not in counted
    entry = {
        "phase": record.phase, "status": record.status, "trial": record.trial, "seed": record.seed,
        "directory": plain(run.paths.directory.name, 120),
        "val": formatting.score(metric(record, "val", name), name),
        "test": formatting.score(metric(record, "test", name), name),
        "time": formatting.duration(number(record.cost.get("total_seconds"))),
        "values": [plain(value, _VALUE) for value in values],
        "error": errors.place(lines(record.error, _ERROR)) if record.error else None,
        "superseded": superseded or None, "config": _edits(base, _config(run.paths.config)),
    }  # fmt: skip
    return {k: v for k, v in entry.items() if v is not None and v != "" and (v != [] or k == "config")}


def _space(cell: Cell, key: str) -> str | None:
    space = cell.space.get(key)
    return None if space is None else plain(str(space), 120)


def _config(path: Path) -> str | None:
    """Read config.yaml as text; None if it does not exist."""
    try:
        return lines(path.read_text(encoding="utf-8", errors="replace"), _CONFIG)
    except OSError:
        return None


class _Pool:
    """Stores each distinct item once and returns its index."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, item: Any) -> int:
        place = self._places.setdefault(str(item), len(self.items))
        if place == len(self.items):
            self.items.append(item)
        return place


class _Texts:
    """Stores the first configuration in full, and others as differences from it."""

    def __init__(self) -> None:
        self.first: list[str] = []

    def edits(self, text: str | None) -> list[Edit] | None:
        if text is None:
            return None
        now = text.splitlines()
        self.first = self.first or now
        matcher = difflib.SequenceMatcher(None, self.first, now, autojunk=False)
        return [(a, b, now[c:d]) for what, a, b, c, d in matcher.get_opcodes() if what != "equal"]


def _edits(base: Sequence[str] | None, text: str | None) -> list[Edit] | None:
    """Return a configuration's changed lines against its cell's; fast if both have the same number of lines."""
    if base is None or text is None:
        return None
    before, after = base, text.splitlines()
    if len(before) == len(after):
        return [(i, i + 1, [b]) for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return [(a, b, after[c:d]) for what, a, b, c, d in matcher.get_opcodes() if what != "equal"]
