"""The predictions of a cell's confirmation runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.records.record import Record
from harness.records.states import RunStatus
from harness.report.cells.cell_summary import CellSummary, facts
from harness.report.reading.predictions import Predictions, read_files


def read_predictions(row: CellSummary) -> Predictions:
    """Read the predictions behind a cell's test scores.

    Raises:
        Unreadable: files are missing or do not fit together.
    """
    return read_files(list(_paths(row)), [record.seed for record in row.evaluated], row.cell.metric, row.minimize)


def text_digests(row: CellSummary) -> frozenset[str]:
    """Return the digests of the test texts that a cell's runs met; empty in records of earlier versions."""
    found = (facts(record).get("test_digest") for record in row.evaluated)
    return frozenset(str(digest) for digest in found if digest)


def same_test_rows(row: CellSummary, known: Predictions, other: CellSummary, others: Predictions) -> bool:
    """Return whether two cells met the same test rows: ids, labels and, if both records tell them, texts."""
    texts = text_digests(row), text_digests(other)
    return known.same_rows(others) and (not all(texts) or texts[0] == texts[1])


def _paths(row: CellSummary) -> Iterator[Path]:
    """Return the predictions file of each confirmed run, in the order of `row.evaluated`."""

    def key(record: Record) -> tuple[Any, ...]:
        return record.signature, record.phase, record.seed, record.started

    wanted = {key(record) for record in row.evaluated}
    paths = {
        key(run.record): run.paths.predictions
        for run in row.cell.runs
        if run.record.status == RunStatus.OK and key(run.record) in wanted
    }
    return (paths[key(record)] for record in row.evaluated)
