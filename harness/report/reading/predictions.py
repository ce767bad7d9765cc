"""Per-row scores of a cell's confirmed runs, aligned by test row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.family import FIRST, family_of, part
from harness.api.metric import Undefined
from harness.records.study_files import GROUP, SCORE

TEST = "test"  # value of the column `split`


class Unreadable(Exception):
    """A cell's predictions are missing, damaged, or cover different rows in its runs; the message says which."""


@dataclass(frozen=True)
class Predictions:
    """Scores of a cell's confirmed runs for the test rows. Whatever else the files hold, only the task's family reads.

    Attributes:
        family: of the task.
        seeds: of the S runs.
        ids: (n,) row numbers in the source, ascending.
        labels: (n,) what was to be predicted, as it is written in the source: names of classes or numbers.
        scores: (S, n) values whose mean over rows is a run's metric, oriented so that higher is better.
        files: the S files.
        groups: (n,) the group of each row (`task.group`); None if the files have none.
    """

    family: str
    seeds: tuple[int, ...]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    files: tuple[Path, ...]
    groups: npt.NDArray[Any] | None = None

    def same_rows(self, other: Predictions) -> bool:
        """Return whether both cover the same test rows with the same labels."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.labels, other.labels)

    def column(self, name: str, split: str = TEST) -> npt.NDArray[Any]:
        """Read a column that the family stores: (S, n), or (S, n, m) of lists of m numbers, in the order of the ids.

        Args:
            name: of the column.
            split: whose n rows are read; by default the test rows.

        Raises:
            Unreadable: a file is gone, or has no such column; or the runs have different rows of this split.
        """
        found = [_read(file, ["id", name], split=split) for file in self.files]
        if lacks := [file for file, table in zip(self.files, found, strict=True) if name not in table.column_names]:
            raise Unreadable(f"{_where(lacks[0])} has no column {name}")
        if len({len(table) for table in found}) > 1:
            raise Unreadable(f"its runs met different rows of the split {split}")
        return np.stack([_values(table, name)[_order(table)] for table in found])

    def columns(self) -> list[str]:
        """Return the names of the columns of the first file; [] if it cannot be read."""
        return list(_schema(self.files[0]).names)

    def metadata(self, key: str) -> str | None:
        """Return what the metadata of the first file has for a key; None if it has nothing."""
        value = (_schema(self.files[0]).metadata or {}).get(key.encode())
        return None if value is None else str(value.decode())


def read_files(files: Sequence[Path], seeds: Sequence[int], metric: str, minimize: bool) -> Predictions:
    """Read the scores of one cell's runs for the test rows.

    Args:
        files: one predictions.parquet per run, at least one.
        seeds: of the same runs.
        metric: the metric of the scores, which are negated if `minimize`.

    Raises:
        Unreadable: files are missing or do not fit together.
    """
    if not files:
        raise Unreadable("there is no confirmed run")
    found = [_scored(file, metric) for file in files]
    ids, labels, family = found[0].ids, found[0].labels, found[0].family
    for each in found[1:]:
        if not (np.array_equal(each.ids, ids) and np.array_equal(each.labels, labels)):
            raise Unreadable("its runs met different test rows")
    scores = np.stack([-each.scores if minimize else each.scores for each in found])
    return Predictions(family, tuple(seeds), ids, labels, scores, tuple(files), found[0].groups)


@dataclass(frozen=True)
class _One:
    family: str
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    groups: npt.NDArray[Any] | None


def _scored(path: Path, metric: str) -> _One:
    where, name = _where(path), f"{SCORE}{metric}"
    table = _read(path, ["id", "label", name, GROUP], older=[name, GROUP])
    if len(table) < 2:
        raise Unreadable(f"{where} has fewer than two test rows")
    family = (table.schema.metadata or {}).get(b"family", FIRST.encode()).decode()
    order = _order(table)
    if name in table.column_names:
        scores = _values(table, name)[order]
        if not np.isfinite(scores).all():
            raise Unreadable(f"{metric} has no value for single test rows (it has none for the test split)")
    else:  # of an earlier version, whose files have predictions only
        try:
            scores = part(family_of(family).report).stored_scores(_read(path, None), metric, where)[order]
        except (KeyError, Undefined) as error:
            raise Unreadable(f"{metric} has no value for single test rows ({error})") from error
        except ValueError as error:
            raise Unreadable(str(error)) from error
    groups = _values(table, GROUP)[order] if GROUP in table.column_names else None
    return _One(family, table["id"].to_numpy()[order], _values(table, "label")[order], scores, groups)


def _read(path: Path, columns: list[str] | None, older: Sequence[str] = (), split: str = TEST) -> Any:
    """Read columns (None: all) of the rows of a split as an Arrow table.

    Args:
        path: predictions.parquet of a run.
        columns: their names.
        older: those of them that files of earlier versions lack.
        split: its name.
    """
    import pyarrow as pa
    import pyarrow.compute
    from pyarrow import parquet

    where = _where(path)
    try:
        with parquet.ParquetFile(path) as file:  # read_table would import pandas
            known = file.schema_arrow.names
            wanted = None if columns is None else ["split", *(c for c in columns if c in known or c not in older)]
            table = file.read(wanted)
        return table.filter(pa.compute.equal(table["split"], split))
    except FileNotFoundError:
        raise Unreadable(f"{where} is missing") from None
    except (OSError, pa.ArrowException, KeyError) as error:
        raise Unreadable(f"{where} cannot be read ({str(error).splitlines()[0]})") from error


def _schema(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_schema(path)
    except (OSError, pa.ArrowException):
        return pa.schema([])


def _where(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _order(table: Any) -> npt.NDArray[np.int64]:
    return np.argsort(table["id"].to_numpy(), kind="stable")


def _values(table: Any, name: str) -> npt.NDArray[Any]:
    """Return a column of numbers, of lists of equally many floats, or of objects; a null number is not-a-number."""
    import pyarrow as pa

    column = table[name]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.asarray(column.to_numpy())
    if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type) and len(column):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if len(flat) % len(column) == 0:
            return np.asarray(flat).reshape(len(column), -1)
    return np.asarray(column.to_pylist(), dtype=object)
