"""The scores of runs at rungs, read from metrics.jsonl; of a growing file only the new lines are read."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.records.files import read_jsonl
from harness.records.run_spec import RunSpec


def rung_scores(spec: RunSpec, metric: str) -> dict[int, float]:
    """Return the scores of a run at the rungs that it has reached, by rung.

    Args:
        spec: the run, which has ended or is paused.
        metric: the metric that is the score. An undefined value is NaN, which ranks worst.
    """
    return scores(read_jsonl(spec.paths.metrics), spec.rungs, metric)


def scores(lines: Iterable[Mapping[str, Any]], rungs: Iterable[int], metric: str) -> dict[int, float]:
    """Return the scores at rungs, by rung. A step may reach several rungs at once; its line names the highest.

    Args:
        lines: of metrics.jsonl. With folds, runs are compared on the first fold, as epochs start again with each.
        rungs: the rungs in rising order.
        metric: the metric that is the score.
    """
    marked = [line for line in lines if line.get("rung") is not None and line.get("fold", 0) == 0]
    found: dict[int, float] = {}
    for rung in rungs:
        line = next((line for line in marked if line["rung"] >= rung), None)
        if line is not None:
            value = (line.get("val") or {}).get(metric)
            found[rung] = float("nan") if value is None else float(value)
    return found


class JsonlTail:
    """Reads the lines that were appended to files since they were read last."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[int, int]] = {}  # inode and bytes read so far

    def lines(self, path: Path) -> list[dict[str, Any]]:
        """Return the new complete lines of a JSONL file; all lines if the file was replaced by another."""
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                inode, start = self._read.get(path, (status.st_ino, 0))
                if inode != status.st_ino or status.st_size < start:
                    start = 0
                if status.st_size == start:
                    return []
                file.seek(start)
                whole = file.read().rpartition(b"\n")[0]
        except OSError:
            return []
        self._read[path] = status.st_ino, start + len(whole) + (1 if whole else 0)
        lines = []
        for line in whole.split(b"\n"):
            with suppress(ValueError):
                lines.append(json.loads(line))
        return lines

    def keep(self, directories: Container[str]) -> None:
        """Forget the files of runs that are not in these directories."""
        self._read = {path: known for path, known in self._read.items() if str(path.parent) in directories}
