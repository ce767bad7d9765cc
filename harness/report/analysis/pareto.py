"""Pareto set: the configurations that no other one beats in the metric and in every cost that tuning optimized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import formatting
from harness.records.cell_facts import within
from harness.records.record import Record
from harness.records.states import Phase, RunStatus
from harness.report.cells import row_names
from harness.report.cells.cell_summary import CellSummary, metric, number

MOST = 200  # points shown of a set


@dataclass(frozen=True)
class Point:
    """A configuration of the set.

    Attributes:
        name: of its cell, unique among the compared cells.
        trial: its trial number in the cell.
        score, costs: as text.
        hyperparameters: as text.
        chosen: whether it was confirmed.
    """

    name: str
    trial: str
    score: str
    costs: tuple[str, ...]
    hyperparameters: str
    chosen: bool


@dataclass(frozen=True)
class Front:
    """The Pareto set of a comparison group.

    Attributes:
        title: the group's task and axes.
        metric, costs: names of the columns.
        compared: number of configurations considered, without those above a limit of `tune.constraints`.
        points: best score first.
    """

    title: str
    metric: str
    costs: tuple[str, ...]
    compared: int
    points: list[Point]


def front(rows: Sequence[CellSummary], sweep: Mapping[str, Any]) -> Front | None:
    """Find the Pareto set among the tuning runs of a comparison group; None if tuning optimized the metric alone.

    Args:
        rows: the cells of the group.
        sweep: content of the study's sweep.yaml.
    """
    tune = sweep.get("tune")
    tune = tune if isinstance(tune, Mapping) else {}
    costs = tuple(map(str, tune.get("objectives") or ()))
    limits = tune.get("constraints") or {}
    if not costs or not rows:
        return None
    found = []
    for row in rows:
        for run in row.cell.runs:
            if run.phase != Phase.TUNE or run.status != RunStatus.OK:
                continue
            values = _values(row, run.record, costs)
            if values is not None and within(run, limits):
                found.append((values, row, run.record))
    best = [one for one in found if not any(_beats(other[0], one[0]) for other in found)]
    best.sort(key=lambda one: one[0])
    points = [
        Point(
            name=row_names.name(row, rows),
            trial="" if record.trial is None else str(record.trial),
            score=formatting.score(metric(record, "val", row.cell.metric), row.cell.metric),
            costs=tuple(formatting.cost(cost, number(record.cost.get(cost))) for cost in costs),
            hyperparameters=formatting.settings(record.hyperparameters) or "nothing was tuned",
            chosen=bool(row.evaluated) and row.hyperparameters == record.hyperparameters,
        )
        for _, row, record in best[:MOST]
    ]
    title = " ".join(rows[0].question[:2]).strip()
    return Front(title, rows[0].cell.metric, costs, len(found), points)


def _values(row: CellSummary, record: Record, costs: Sequence[str]) -> tuple[float, ...] | None:
    """Return the values to minimize: the negated score and the costs; None if one is unknown."""
    score = metric(record, "val", row.cell.metric)
    known = [number(record.cost.get(cost)) for cost in costs]
    if score is None or None in known:
        return None
    return (-row.better(score), *(value for value in known if value is not None))


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
