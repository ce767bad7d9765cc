"""What a run writes for the rows of a task that names groups, and what a report makes of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from pyarrow import parquet

from harness.records.run_spec import RunBatch
from harness.report.reading.predictions import read_files
from harness.runs.execute import execute
from tests.helpers.small_dataset import short_config, spec


def test_predictions_have_the_groups_of_rows(tmp_path: Path, cache: Path) -> None:
    """The column `group` stands beside each row, and reports read it; the run is another one than without groups."""
    plain = spec(short_config(tmp_path, cache, "nearest_mean"), tmp_path / "plain")
    for split in ("train", "validation", "test"):
        path = tmp_path / f"{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([[*head, "day"], *([*row, str(n % 5)] for n, row in enumerate(rows))])
    grouped = spec(short_config(tmp_path, cache, "nearest_mean", task={"group": "day"}), tmp_path / "grouped")
    assert grouped.signature != plain.signature
    execute(RunBatch((plain,)))
    execute(RunBatch((grouped,)))
    assert "group" not in parquet.read_schema(plain.paths.predictions).names
    table = parquet.read_table(grouped.paths.predictions).to_pydict()
    assert [str(row % 5) for row in table["id"]] == table["group"]
    assert set(table["split"]) == {"validation", "test"}
    found = read_files([grouped.paths.predictions], [0], "accuracy", minimize=False)
    assert found.groups is not None
    assert np.array_equal(found.groups, [str(row % 5) for row in found.ids])
    assert read_files([plain.paths.predictions], [0], "accuracy", minimize=False).groups is None
