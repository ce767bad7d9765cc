"""Records of studies as a pandas data frame, for analyses that the report does not cover."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, nearest
from harness.report.reading.parquet import COLUMNS, FLAT, compact, schema
from harness.report.reading.runs import Unreadable
from harness.report.reading.study import check_directory

if TYPE_CHECKING:
    import pandas

USUAL = (*FLAT, "variant", "hyperparameters", "run")


def records(*studies: str | Path, columns: Sequence[str] = USUAL) -> pandas.DataFrame:
    """Read the records of studies, one row per run, whatever its status. Also compacts the records.

    Args:
        studies: directories, e.g. `runs/support`.
        columns: columns to read; docs/files.md lists them. By default all but the bulky ones.

    Returns:
        Metrics as fractions, costs as in the record; unknown values are missing. Runs with an unreadable record are
        left out, with a warning.

    Raises:
        HarnessError: a study does not exist, or a column is unknown.
    """
    import pyarrow as pa

    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise HarnessError(*(f"Records have no column {name}. {nearest(name, COLUMNS)}" for name in unknown))
    shown = schema(columns)
    tables = [shown.empty_table()]
    for study in map(Path, studies):
        check_directory(study)
        compacted = compact(study)
        own = compacted.tables()
        tables += [table.select(list(columns)).cast(shown) for table in own]
        unreadable = [run for run in compacted.runs if isinstance(run, Unreadable)]
        problems = [*compacted.warnings, *(f"{run.directory} is left out ({run.reason})." for run in unreadable)]
        if unfit := len(compacted.runs) - len(unreadable) - sum(table.num_rows for table in own):
            problems.append(f"{study}: {unfit} records that a table cannot hold are left out.")
        for problem in problems:
            warnings.warn(problem, stacklevel=2)
    frame: pandas.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame
