"""Statistics on test scores: intervals, verdicts, and the recommended cell with the sentence that justifies it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.formatting.escape import plain
from harness.formatting.values import listed, plural
from harness.report.analysis.cell_summary import CellSummary
from harness.report.analysis.recommendation import cheapest, cost_of, recommendation, rivals_missing
from harness.report.analysis.row_names import name, state
from harness.report.analysis.row_predictions import read_predictions
from harness.report.analysis.settings import Settings
from harness.report.reading.predictions import Predictions, Unreadable
from harness.report.reading.study import Study

if TYPE_CHECKING:
    from harness.statistics import Comparison, Interval, Sequential, Verdict


@dataclass(frozen=True)
class CellVerdict:
    """Statistical results for one cell.

    Attributes:
        interval: of its mean test score, in the metric's own orientation; None without predictions.
        verdict: comparison with the other cells; None if it was not compared.
        recommended: whether it is the recommended cell.
        cost: its cost in the unit of `Settings.cost`; None if unknown.
    """

    interval: Interval | None = None
    verdict: Verdict | None = None
    recommended: bool = False
    cost: float | None = None


@dataclass(frozen=True)
class ComparisonGroup:
    """Cells that are compared with each other: they share task, the task's axes and metric.

    Attributes:
        key: task, axes, metric.
        rows, judgements: cell summaries and their results, in the same order.
        compared: the cells in `comparison`, in its order.
        comparison: all pairs, simultaneously; None if fewer than two cells could be compared.
        best: the cell with the best mean.
        recommended: the cheapest of those shown not to be worse than the best; None while there is none.
        recommendation: the sentence that explains it, or what is missing.
        looks: what adaptive replication did; "" if the seeds were fixed.
    """

    key: tuple[str, str, str]
    rows: tuple[CellSummary, ...]
    judgements: tuple[CellVerdict, ...]
    compared: tuple[CellSummary, ...]
    comparison: Comparison | None
    best: CellSummary | None
    recommended: CellSummary | None
    recommendation: str
    looks: str = ""


@dataclass(frozen=True)
class Evidence:
    """Statistical results of a report.

    Attributes:
        questions: comparison groups, in the order of the rows.
        summary: sentences for the top: what to choose in each group, and what did not run.
        notes: caveats that a reader must know before the numbers.
        predictions: by `id()` of the cell summary, for cells whose predictions could be read; see `scores_of`.
    """

    settings: Settings
    questions: tuple[ComparisonGroup, ...]
    summary: list[str]
    notes: list[str]
    predictions: Mapping[int, Predictions]

    def of(self, row: CellSummary) -> CellVerdict:
        """Return the results for a cell."""
        for question in self.questions:
            for other, judgement in zip(question.rows, question.judgements, strict=True):
                if other is row:
                    return judgement
        return CellVerdict()

    def scores_of(self, row: CellSummary) -> Predictions | None:
        """Return a cell's predictions; None if they could not be read."""
        return self.predictions.get(id(row))


def groups(rows: Sequence[CellSummary]) -> list[list[CellSummary]]:
    """Split cells into comparison groups (see `CellSummary.question`), keeping their order."""
    found: dict[tuple[str, str, str], list[CellSummary]] = {}
    for row in rows:
        found.setdefault(row.question, []).append(row)
    return list(found.values())


def best(rows: Sequence[CellSummary]) -> CellSummary | None:
    """Return the cell with the best mean test score; None if there is none yet."""
    scored = [row for row in rows if row.test_mean is not None]
    return max(scored, key=lambda row: row.better(row.test_mean or 0.0), default=None)


def evidence(study: Study, rows: Sequence[CellSummary], settings: Settings) -> Evidence:
    """Compare the cells of every comparison group of a study.

    Args:
        study: as loaded; its `confirm` settings list the looks at which seeds were added.
        rows: its cell summaries.
        settings: margin, confidence, and the cost to minimize.
    """
    settings.check({row.cell.metric for row in rows})
    notes: list[str] = []
    predictions: dict[int, Predictions] = {}
    for row in rows:
        if row.test_mean is not None:
            try:
                predictions[id(row)] = read_predictions(row)
            except Unreadable as reason:
                notes.append(f"{name(row, rows)} is not compared: {reason}.")
    questions = tuple(_judge(group, predictions, study, settings, notes) for group in groups(rows))
    summary = [sentence for question in questions for sentence in (question.recommendation, question.looks) if sentence]
    return Evidence(settings, questions, [*summary, *_unfinished(rows)], notes, predictions)


def _judge(
    group: Sequence[CellSummary],
    predictions: Mapping[int, Predictions],
    study: Study,
    settings: Settings,
    notes: list[str],
) -> ComparisonGroup:
    from harness.statistics import compare, scale_of, sequential

    compared = _comparable(group, predictions, notes)
    scores = [predictions[id(row)].scores for row in compared]
    alpha, span = 1 - settings.confidence, scale_of(group[0].cell.metric).span
    comparison: Comparison | None = None
    verdicts: dict[int, Verdict] = {}
    looks = ""
    if len(compared) > 1:
        comparison = compare(scores, settings.margin, alpha, span=span)
        found = comparison.verdicts
        if plan := planned_looks(study):
            # If nothing is running, no more seeds will come: cells take part in the looks with the seeds they have.
            at_work = any(row.running or row.status == "not started" for row in group)
            replay = sequential(scores, plan, settings.margin, alpha, [not at_work] * len(scores), span)
            found = replay.verdicts
            if replay.looks:  # limits that hold although seeds were added until the verdicts were reached
                comparison = replay.looks[-1].comparison
            looks = _looks(replay, plan)
        verdicts = {id(row): verdict for row, verdict in zip(compared, found, strict=True)}
    top = best(group)
    judged = [(row, verdicts.get(id(row))) for row in group]
    chosen = None if rivals_missing(judged) else cheapest(judged, settings)
    judgements = []
    for row, verdict in judged:
        known = predictions.get(id(row))
        spread = None if known is None else _interval(row, known, settings)
        judgements.append(CellVerdict(spread, verdict, row is chosen, cost_of(row, settings)))
    return ComparisonGroup(
        key=group[0].question,
        rows=tuple(group),
        judgements=tuple(judgements),
        compared=tuple(compared),
        comparison=comparison,
        best=top,
        recommended=chosen,
        recommendation=recommendation(judged, top, chosen, settings),
        looks=looks,
    )


def _interval(row: CellSummary, known: Predictions, settings: Settings) -> Interval:
    """Return the interval of a cell's mean in the metric's own orientation, on the metric's scale."""
    import numpy as np

    from harness.statistics import informative_rows, interval, scale_of

    classes = np.array(list(Counter(known.labels).values()))
    scores = -known.scores if row.minimize else known.scores
    metric = row.cell.metric
    return interval(scores, settings.confidence, scale_of(metric), informative_rows(metric, classes))


def _comparable(
    group: Sequence[CellSummary], predictions: Mapping[int, Predictions], notes: list[str]
) -> list[CellSummary]:
    """Choose the cells that were evaluated on the same test rows; if there are several such sets, the largest."""
    kinds: list[list[CellSummary]] = []
    for row in group:
        known = predictions.get(id(row))
        if known is None:
            continue
        for kind in kinds:
            if predictions[id(kind[0])].same_rows(known):
                kind.append(row)
                break
        else:
            kinds.append([row])
    if not kinds:
        return []
    largest = max(kinds, key=len)
    notes += [
        f"{name(row, group)} is not compared: it met other test rows than {name(largest[0], group)}."
        for kind in kinds
        if kind is not largest
        for row in kind
    ]
    return largest


def planned_looks(study: Study) -> list[int]:
    """Return the planned numbers of seeds at each look; [] if the seeds were fixed."""
    confirm = study.sweep.get("confirm")
    plan = confirm.get("looks") if isinstance(confirm, Mapping) else None
    return [int(seeds) for seeds in plan] if isinstance(plan, list) and len(plan) > 1 else []


def _looks(replay: Sequential, plan: Sequence[int]) -> str:
    """Describe what adaptive replication did."""
    planned = f"Seeds were added in looks planned at {listed([str(seeds) for seeds in plan])} seeds a cell"
    taken = plural(len(replay.looks), "look")
    if replay.state == "resolved":
        return f"{planned}; every verdict was reached after {taken}."
    if replay.state == "more":
        return f"{planned}; after {taken} more seeds are wanted."
    seeds = max((max(look.seeds) for look in replay.looks), default=0)
    if replay.state == "futile":
        return (
            f"{planned}; after {taken}, with up to {plural(seeds, 'seed')} a cell, no more were run: all that were "
            "planned would have settled an open verdict with less than 10 % probability."
        )
    return (
        f"{planned}; after {taken}, with up to {plural(seeds, 'seed')} a cell, some verdicts stay open: more "
        "seeds than planned, or more test rows, would be needed."
    )


def _unfinished(rows: Sequence[CellSummary]) -> list[str]:
    sentences = []
    for status, one, many in (
        ("failed", "failed", "failed"),
        ("running", "is still running", "are still running"),
        ("stopped", "was stopped by the budget", "were stopped by the budget"),
        ("not started", "has not started", "have not started"),
    ):
        cells = [name(row, rows) for row in rows if state(row) == status]
        if cells:
            be = one if len(cells) == 1 else many
            sentences.append(f"{len(cells)} of {plural(len(rows), 'cell')} {be}: {plain(listed(cells), 300)}.")
    return sentences
