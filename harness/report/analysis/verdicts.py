"""Statistics on test scores: intervals, verdicts, and the recommended cell with the sentence that justifies it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.api.family import metric_of
from harness.formatting.escape import plain
from harness.formatting.values import listed, metric_name, plural
from harness.report.analysis import looks
from harness.report.analysis.recommendation import Standing, cheapest, cost_of, recommendation
from harness.report.analysis.rivals import rivals_missing
from harness.report.analysis.samples import Samples, samples, varied
from harness.report.analysis.today import Odds, Today, decide
from harness.report.cells.cell_summary import CellSummary, place_of
from harness.report.cells.failures import Failures, failures
from harness.report.cells.row_names import name, state
from harness.report.cells.row_predictions import read_predictions, same_test_rows
from harness.report.cells.selection import Selection, selection
from harness.report.cells.settings import Settings
from harness.report.reading.predictions import Predictions, Unreadable
from harness.report.reading.study import Study

if TYPE_CHECKING:
    from harness.statistics import Comparison, Interval, Verdict


@dataclass(frozen=True)
class CellVerdict:
    """Statistical results for one cell.

    Attributes:
        interval: of its mean test score, in the metric's own orientation; None without predictions.
        verdict: comparison with the other cells; None if it was not compared.
        recommended: whether it is the recommended cell.
        today: whether it is the choice of today, while no cell is recommended.
        cost: its cost in the unit of `Settings.cost`; None if unknown.
        failures: its confirmations that failed or collapsed.
        selection: what validation says of its choice; None if nothing was tuned.
        odds: probabilities and the expected loss, were it chosen today; None if it was not compared.
        counted_mean: its mean test score with failed runs counted as `Settings.failed_as` says; None without a score.
    """

    interval: Interval | None = None
    verdict: Verdict | None = None
    recommended: bool = False
    today: bool = False
    cost: float | None = None
    failures: Failures | None = None
    counted_mean: float | None = None
    selection: Selection | None = None
    odds: Odds | None = None


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
        recommendation: what to choose and why, or what is missing; `answer` is its beginning, which names the cell.
        looks: what adaptive replication did; "" if the seeds were fixed.
        today: which cell to choose now, whatever the verdicts; None if fewer than two cells could be compared.
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
    today: Today | None = None
    answer: str = ""

    @property
    def choice(self) -> CellSummary | None:
        """The recommended cell, else the choice of today, else the best."""
        return self.recommended or (self.best if self.today is None else self.today.row)


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


def best(rows: Sequence[CellSummary], means: Mapping[int, float] | None = None) -> CellSummary | None:
    """Return the cell with the best mean test score; None if there is none yet.

    Args:
        rows: the cells.
        means: means that count failed runs, by `id()`; other cells have the mean of their scores.
    """
    known = means or {}
    scored = [row for row in rows if row.test_mean is not None]
    return max(scored, key=lambda row: row.better(known.get(id(row), row.test_mean or 0.0)), default=None)


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
    compared = _comparable(group, predictions, notes)
    given = samples(compared, predictions, study, settings)
    if given.groups is not None:
        units = f"{len(set(given.groups))} groups of the {len(given.groups)} test rows"
        notes.append(f"{group[0].cell.task}: intervals and verdicts count the {units} (task.group), not the rows.")
    comparison, verdicts, said = _compare(group, given, study, settings)
    intervals = _intervals(group, predictions, settings, notes)
    means = {
        id(row): row.better(float(scores.mean()))
        for row, scores in zip(given.rows, given.scores, strict=True)
        if row.crashed
    }
    top = best(group, means)
    judged = [(row, verdicts.get(id(row))) for row in group]
    missing = rivals_missing(group, compared, intervals)
    chosen = None if missing else cheapest(judged, settings)
    today = decide(given, [cost_of(row, settings) for row in compared], settings) if len(compared) > 1 else None
    found = Standing(
        judged, top, chosen, missing, means=means, today=today, varied=varied(study),
        failures={id(row): failures(row, predictions.get(id(row))) for row in group},
        selections={id(row): selection(row, predictions.get(id(row))) for row in group},
    )  # fmt: skip
    judgements = tuple(
        CellVerdict(
            interval=intervals.get(id(row)),
            verdict=verdict,
            recommended=row is chosen,
            today=chosen is None and today is not None and row is today.row,
            cost=cost_of(row, settings),
            failures=found.failures[id(row)],
            counted_mean=means.get(id(row), row.test_mean),
            selection=found.selections[id(row)],
            odds=None if today is None else today.odds.get(id(row)),
        )
        for row, verdict in judged
    )
    answer = recommendation(found, settings)
    return ComparisonGroup(
        key=group[0].question,
        rows=tuple(group),
        judgements=judgements,
        compared=tuple(compared),
        comparison=comparison,
        best=top,
        recommended=chosen,
        recommendation=" ".join(filter(None, answer)),
        answer=answer[0],
        looks=said,
        today=today,
    )


def _compare(
    group: Sequence[CellSummary], given: Samples, study: Study, settings: Settings
) -> tuple[Comparison | None, dict[int, Verdict], str]:
    """Return the comparison of cells, their verdicts by `id()`, and what adaptive replication did."""
    from harness.statistics import compare, scale_of, sequential

    if len(given.rows) < 2:
        return None, {}, ""
    alpha, span = 1 - settings.confidence, scale_of(group[0].cell.metric).span
    comparison = compare(given.scores, settings.margin, alpha, span=span, **given.structure)
    verdicts, said = comparison.verdicts, ""
    if plan := looks.planned_looks(study):
        # Once every result is there, no more seeds will come: cells take part in the looks with those they have.
        capped = [all(row.settled for row in group)] * len(given.rows)
        replay = sequential(given.scores, plan, settings.margin, alpha, capped, span, **given.structure)
        verdicts = replay.verdicts
        if replay.looks:  # limits that hold although seeds were added until the verdicts were reached
            comparison = replay.looks[-1].comparison
        said = looks.told(replay, plan, [name(row, group) for row in given.rows], given.scores)
    return comparison, {id(row): verdict for row, verdict in zip(given.rows, verdicts, strict=True)}, said


def _intervals(
    group: Sequence[CellSummary], predictions: Mapping[int, Predictions], settings: Settings, notes: list[str]
) -> dict[int, Interval]:
    """Return the intervals of the cells' means by `id()`, in the metric's own orientation, on the metric's scale."""
    import numpy as np

    from harness.statistics import interval, scale_of

    found: dict[int, Interval] = {}
    metric = group[0].cell.metric
    for row in group:
        if (known := predictions.get(id(row))) is None:
            continue
        sizes = np.array(list(Counter(known.labels).values()))
        facts = metric_of(known.family, metric)
        if facts is not None and (reason := facts.no_interval(sizes)) is not None:
            notes.append(f"{metric_name(metric)} has no interval here: {reason}.")
            continue
        scores = -known.scores if row.minimize else known.scores
        replicates = [place_of(record)[0] for record in row.evaluated]
        rows = len(known.labels) if facts is None else facts.informative_rows(sizes)
        found[id(row)] = interval(
            scores, settings.confidence, scale_of(metric), rows, replicates, known.groups
        )  # fmt: skip
    return found


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
            if same_test_rows(kind[0], predictions[id(kind[0])], row, known):
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
