"""What the test scores show: intervals, verdicts, and the cell to choose, with the sentence that justifies it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.report.escape import plain
from harness.report.load import Study
from harness.report.predictions import Predictions, Unreadable, read_predictions
from harness.report.recommend import cheapest, cost_of, recommendation
from harness.report.rows import Row, facts, number
from harness.report.settings import Settings
from harness.report.wording import listed, mean_and_spread, metric_name, name, plural, score, state

if TYPE_CHECKING:
    from harness.statistics import Comparison, Interval, Sequential, Verdict


@dataclass(frozen=True)
class Judgement:
    """What is known of one row.

    Attributes:
        interval: of its mean test score, oriented as the metric is; None without predictions.
        verdict: against the others; None if it was not compared.
        recommended: whether it is the cell to choose.
        cost: what it costs in the unit of `Settings.cost`; None if that is not known.
    """

    interval: Interval | None = None
    verdict: Verdict | None = None
    recommended: bool = False
    cost: float | None = None


@dataclass(frozen=True)
class Question:
    """Rows that answer the same question: they share task, the task's axes and metric.

    Attributes:
        key: task, axes, metric.
        rows, judgements: in the same order.
        compared: the rows that `comparison` is of, in its order.
        comparison: all pairs, simultaneously; None if fewer than two rows could be compared.
        best: the row with the best mean.
        recommended: the cheapest of those shown not to be worse than the best; None while nothing is shown.
        recommendation: the sentence that says so, or what is missing.
        looks: what adaptive replication did; "" if the seeds were fixed.
    """

    key: tuple[str, str, str]
    rows: tuple[Row, ...]
    judgements: tuple[Judgement, ...]
    compared: tuple[Row, ...]
    comparison: Comparison | None
    best: Row | None
    recommended: Row | None
    recommendation: str
    looks: str = ""


@dataclass(frozen=True)
class Evidence:
    """Everything that a report says beyond counting.

    Attributes:
        questions: in the order of the rows.
        summary: sentences for the top: what to choose, question by question, and what did not run.
        notes: what a reader must know before the numbers.
        predictions: by cell id (and study), for the rows whose predictions could be read.
    """

    settings: Settings
    questions: tuple[Question, ...]
    summary: list[str]
    notes: list[str]
    predictions: Mapping[int, Predictions]

    def of(self, row: Row) -> Judgement:
        """Give what is known of a row."""
        for question in self.questions:
            for other, judgement in zip(question.rows, question.judgements, strict=True):
                if other is row:
                    return judgement
        return Judgement()

    def question_of(self, row: Row) -> Question:
        """Give the question that a row answers."""
        return next(question for question in self.questions if any(other is row for other in question.rows))

    def scores_of(self, row: Row) -> Predictions | None:
        """Give a row's predictions; None if they could not be read."""
        return self.predictions.get(id(row))


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows into those that answer the same question (see `Row.question`); their order stays."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault(row.question, []).append(row)
    return list(found.values())


def best(rows: Sequence[Row]) -> Row | None:
    """Give the row with the best mean test score; None if there is none yet."""
    scored = [row for row in rows if row.test_mean is not None]
    return max(scored, key=lambda row: row.better(row.test_mean or 0.0), default=None)


def evidence(study: Study, rows: Sequence[Row], settings: Settings) -> Evidence:
    """Judge every question of a study.

    Args:
        study: as loaded; its `confirm` settings say at which looks seeds were added.
        rows: its aggregated cells.
        settings: the margin, the confidence and the cost that counts.
    """
    settings.check()
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
    group: Sequence[Row], predictions: Mapping[int, Predictions], study: Study, settings: Settings, notes: list[str]
) -> Question:
    from harness.statistics import compare, interval, sequential

    compared = _comparable(group, predictions, notes)
    scores = [predictions[id(row)].scores for row in compared]
    alpha = 1 - settings.confidence
    comparison: Comparison | None = None
    verdicts: dict[int, Verdict] = {}
    looks = ""
    if len(compared) > 1:
        comparison = compare(scores, settings.margin, alpha)
        found = comparison.verdicts
        if plan := planned_looks(study):
            replay = sequential(scores, plan, settings.margin, alpha)
            found = replay.verdicts
            if replay.looks:  # limits that hold although seeds were added until the verdicts were reached
                comparison = replay.looks[-1].comparison
            looks = _looks(replay, plan)
        verdicts = {id(row): verdict for row, verdict in zip(compared, found, strict=True)}
    top = best(group)
    judged = [(row, verdicts.get(id(row))) for row in group]
    chosen = cheapest(judged, settings)
    judgements = []
    for row, verdict in judged:
        known = predictions.get(id(row))
        spread = None if known is None else interval(known.scores, settings.confidence)
        if spread is not None and row.minimise:
            spread = replace(spread, mean=-spread.mean, low=-spread.high, high=-spread.low)
        judgements.append(Judgement(spread, verdict, row is chosen, cost_of(row, settings)))
    return Question(
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


def _comparable(group: Sequence[Row], predictions: Mapping[int, Predictions], notes: list[str]) -> list[Row]:
    """Choose the rows that met the same test rows; the most, if there are several kinds."""
    kinds: list[list[Row]] = []
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
    """Give the numbers of seeds at which a study planned to look; [] where the seeds were fixed."""
    confirm = study.sweep.get("confirm")
    plan = confirm.get("looks") if isinstance(confirm, Mapping) else None
    return [int(seeds) for seeds in plan] if isinstance(plan, list) and len(plan) > 1 else []


def _looks(replay: Sequential, plan: Sequence[int]) -> str:
    """Say what adaptive replication did."""
    planned = f"Seeds were added in looks planned at {listed([str(seeds) for seeds in plan])} seeds a cell"
    taken = plural(len(replay.looks), "look")
    if replay.state == "resolved":
        return f"{planned}; every verdict was reached after {taken}."
    if replay.state == "more":
        return f"{planned}; after {taken} more seeds are wanted."
    seeds = max((max(look.seeds) for look in replay.looks), default=0)
    return (
        f"{planned}; after {taken}, with up to {plural(seeds, 'seed')} a cell, some verdicts stay open: more "
        "seeds than planned, or more test rows, would be needed."
    )


def _unfinished(rows: Sequence[Row]) -> list[str]:
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


def standard_error(row: Row) -> float | None:
    """Estimate how far a mean test score may be off, as a fraction; None where nothing can be said.

    Counted are the spread over seeds and, for accuracy, the sampling of the test set (binomial). Deterministic methods
    have no spread over seeds, so without the second part any difference of theirs would look certain.
    """
    if row.test_mean is None:
        return None
    parts = [] if row.test_std is None else [row.test_std**2 / len(row.test_values)]
    examples = test_examples(row)
    if row.cell.metric == "accuracy" and examples:
        parts.append(row.test_mean * (1 - row.test_mean) / examples)
    return math.sqrt(math.fsum(parts)) if parts else None


def within_two(top: Row, other: Row) -> bool:
    """Tell whether two means lie within two standard errors of their difference, errors taken as independent."""
    one, two = standard_error(top), standard_error(other)
    if top.test_mean is None or other.test_mean is None or one is None or two is None:
        return False
    return abs(top.test_mean - other.test_mean) <= 2 * math.hypot(one, two)


def test_examples(row: Row) -> int | None:
    """Count the test examples that a row's scores rest on; None if its records do not tell."""
    for record in row.evaluated:
        counted = facts(record).get("rows")
        value = number(counted.get("test")) if isinstance(counted, dict) else None
        if value:
            return int(value)
    return None


def summary(rows: Sequence[Row]) -> list[str]:
    """Say in one sentence a question what was measured and which cell is best; then what did not run."""
    sentences = [_sentence(group) for group in groups(rows)]
    for status, one, many in (
        ("failed", "failed", "failed"),
        ("running", "is still running", "are still running"),
        ("stopped", "was stopped by the budget", "were stopped by the budget"),
        ("not started", "has not started", "have not started"),
    ):
        cells = [name(row, rows) for row in rows if row.status == status]
        if cells:
            listing = plain(listed(cells), 300)
            be = one if len(cells) == 1 else many
            sentences.append(f"{len(cells)} of {plural(len(rows), 'cell')} {be}: {listing}.")
    return sentences


def basis(rows: Sequence[Row]) -> str | None:
    """Say what "within two standard errors" counts; None where no two cells were compared."""
    if not any(len([row for row in group if row.test_mean is not None]) > 1 for group in groups(rows)):
        return None
    counted = "the spread over seeds"
    examples = {test_examples(row) for row in rows if row.cell.metric == "accuracy" and row.test_mean is not None} - {
        None
    }
    if examples:
        sizes = listed([f"{size:,}" for size in sorted(size for size in examples if size)])
        counted += f" and the sampling of the test set ({sizes} examples)"
    return (
        f"A standard error here counts {counted}, and takes cells as independent. It is a description, not a test: the "
        "best cell was picked from the same scores that it is compared on."
    )


def _sentence(group: Sequence[Row]) -> str:
    task, axes, metric = group[0].question
    where = f"On {task}{f' ({axes})' if axes else ''}" if task else "Here"
    top = best(group)
    if top is None:
        return plain(_without_test(group, where, metric))
    what = "lowest" if top.minimise else "best"
    seeds = plural(len(top.test_values), "seed")
    head = f"{where}, the {what} mean test {metric_name(metric)} is {mean_and_spread(top, unit=True)} ({seeds}), by "
    return plain(f"{head}{name(top, group)}{_comparison(top, group)}")


def _comparison(top: Row, group: Sequence[Row]) -> str:
    others = [row for row in group if row is not top and row.test_mean is not None]
    if not others:
        return "; no other cell has a test score yet." if len(group) > 1 else "."
    if any(standard_error(row) is None for row in (top, *others)):
        return "; how far the scores would vary is not known (one seed), so the differences cannot be judged."
    tied = [name(row, group) for row in others if within_two(top, row)]
    if tied:
        verb = "lies" if len(tied) == 1 else "lie"
        be = "is" if len(tied) == 1 else "are"
        return (
            f"; {listed(tied)} {verb} within two standard errors of it and {be} not distinguishable on this evidence."
        )
    who = "the one other cell" if len(others) == 1 else f"the {len(others)} other cells"
    differ = "differs" if len(others) == 1 else "differ"
    return f"; {who} with a test score {differ} by more than two standard errors."


def _without_test(group: Sequence[Row], where: str, metric: str) -> str:
    scored = [row for row in group if row.val_best is not None]
    if not scored:
        return f"{where}, nothing has been measured yet."
    top = max(scored, key=lambda row: row.better(row.val_best or 0.0))
    value = score(top.val_best, metric, unit=True)
    return (
        f"{where}, no cell has met the test split yet; the best validation {metric_name(metric)} so far is {value}, "
        f"by {name(top, group)}."
    )
