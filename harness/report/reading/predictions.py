"""Per-example predictions of a cell's confirmed runs, aligned by test row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import Undefined
from harness.statistics import per_example

Names = npt.NDArray[np.object_]


class Unreadable(Exception):
    """A cell's predictions are missing, damaged, or cover different rows in its runs; the message says which."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of a cell's confirmed runs for the test rows.

    Attributes:
        seeds: of the S runs.
        ids: (n,) row numbers in the source, ascending.
        labels: (n,) names of the true classes.
        predicted: (S, n) names of the predicted classes.
        scores: (S, n) values whose mean over rows is a run's metric, oriented so that higher is better.
    """

    seeds: tuple[int, ...]
    ids: npt.NDArray[np.int64]
    labels: Names
    predicted: Names
    scores: npt.NDArray[np.float64]

    def same_rows(self, other: Predictions) -> bool:
        """Return whether both cover the same test rows with the same labels."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.labels, other.labels)


def read_files(files: Sequence[Path], seeds: Sequence[int], metric: str, minimize: bool) -> Predictions:
    """Read the predictions of one cell's runs for the test rows.

    Args:
        files: one predictions.parquet per run, at least one.
        seeds: of the same runs.
        metric: the metric of the scores, which are negated if `minimise`.

    Raises:
        Unreadable: files are missing or do not fit together.
    """
    if not files:
        raise Unreadable("there is no confirmed run")
    found = [_read(file, metric, minimize) for file in files]
    ids, labels = found[0].ids, found[0].labels
    for each in found[1:]:
        if not (np.array_equal(each.ids, ids) and np.array_equal(each.labels, labels)):
            raise Unreadable("its runs met different test rows")
    return Predictions(
        seeds=tuple(seeds),
        ids=ids,
        labels=labels,
        predicted=np.stack([each.predicted for each in found]),
        scores=np.stack([each.scores for each in found]),
    )


@dataclass(frozen=True)
class _One:
    ids: npt.NDArray[np.int64]
    labels: Names
    predicted: Names
    scores: npt.NDArray[np.float64]


def _read(path: Path, metric: str, minimize: bool) -> _One:
    import pyarrow as pa
    import pyarrow.compute
    from pyarrow import parquet

    plain = metric == "accuracy"  # needs no probabilities, which are most of the file
    columns = ["split", "id", "label", "prediction"] + ([] if plain else ["probabilities"])
    where = f"{path.parent.name}/{path.name}"
    try:
        with parquet.ParquetFile(path) as file:  # read_table would import pandas
            table = file.read(columns)
        table = table.filter(pa.compute.equal(table["split"], "test"))
    except FileNotFoundError:
        raise Unreadable(f"{where} is missing") from None
    except (OSError, pa.ArrowException, KeyError) as error:
        raise Unreadable(f"{where} cannot be read ({str(error).splitlines()[0]})") from error
    if len(table) < 2:
        raise Unreadable(f"{where} has fewer than two test rows")
    order = np.argsort(table["id"].to_numpy(), kind="stable")
    labels = np.asarray(table["label"].to_pylist(), dtype=object)[order]
    predicted = np.asarray(table["prediction"].to_pylist(), dtype=object)[order]
    if plain:
        scores = (labels == predicted).astype(np.float64)
    else:
        flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        probabilities = flat.reshape(len(table), -1)[order]
        names = _names(table, labels, predicted, probabilities, where)
        index = {name: position for position, name in enumerate(names)}
        try:
            scores = per_example(metric, np.array([index[name] for name in labels]), probabilities)
        except (KeyError, Undefined) as error:
            raise Unreadable(f"{metric} has no value for single test rows ({error})") from error
    return _One(table["id"].to_numpy()[order], labels, predicted, -scores if minimize else scores)


def _names(
    table: Any, labels: Names, predicted: Names, probabilities: npt.NDArray[np.float32], where: str
) -> list[str]:
    """Return the class names in the order of the probabilities."""
    kept = (table.schema.metadata or {}).get(b"labels")
    if kept is not None:
        return [str(name) for name in json.loads(kept)]
    # Files of earlier versions lack names. Classes are in alphabetical order if each of them occurs in the rows.
    names = sorted({*labels, *predicted})
    if len(names) != probabilities.shape[1] or any(
        names[column] != name for column, name in zip(probabilities.argmax(axis=1), predicted, strict=True)
    ):
        raise Unreadable(f"{where} does not say which probability belongs to which class")
    return names
