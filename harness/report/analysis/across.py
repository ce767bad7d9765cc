"""Methods across data sets: how probably one is better than the leader in practice, and how often its runs win."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from harness import formatting
from harness.report.analysis.verdicts import Evidence
from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.datasets import by_dataset
from harness.report.cells.row_names import identity, margin
from harness.report.cells.settings import Settings

if TYPE_CHECKING:
    from harness.statistics.across_datasets import Practical


@dataclass(frozen=True)
class Line:
    """A method beside the leader, as text.

    Attributes:
        name: of the method.
        mean: its mean score over the data sets.
        better, equivalent, worse: probabilities that on a data set like these it is better than the leader by more than
            the margin, within it, or worse by more; "" for the leader.
        wins: probability that a run of it beats a run of the leader, with its interval; "" for the leader.
    """

    name: str
    mean: str
    better: str = ""
    equivalent: str = ""
    worse: str = ""
    wins: str = ""


@dataclass(frozen=True)
class Across:
    """Methods over the data sets of one metric.

    Attributes:
        sentence: what the table shows.
        lines: the leader first, then by mean score.
    """

    sentence: str
    lines: tuple[Line, ...]


def across(evidence: Evidence) -> list[Across]:
    """Compare the methods that have a test score on every data set; one table a metric with two data sets or more."""
    metrics: dict[str, list[Sequence[CellSummary]]] = {}
    for question in evidence.questions:
        scored = [row for row in question.rows if row.test_values]
        if scored:
            metrics.setdefault(question.key[2], []).append(scored)
    return [found for metric, each in metrics.items() if (found := _table(each, metric, evidence.settings)) is not None]


def _table(questions: Sequence[Sequence[CellSummary]], metric: str, settings: Settings) -> Across | None:
    from harness.statistics.across_datasets import practical_differences

    blocks = by_dataset(questions)
    methods = [
        name
        for name in dict.fromkeys(identity(row) for rows in questions for row in rows)
        if all(any(identity(row) == name for row in rows) for rows in questions)
    ]
    if len(blocks) < 2 or len(methods) < 2:
        return None
    cells = {name: [next(row for row in rows if identity(row) == name) for rows in questions] for name in methods}
    means = {
        name: [fmean(row.better(row.test_mean or 0.0) for row in (rows[index] for index in block)) for block in blocks]
        for name, rows in cells.items()
    }
    order = sorted(methods, key=lambda name: -fmean(means[name]))
    table = [[means[name][block] for name in order] for block in range(len(blocks))]
    pairs = practical_differences(table, settings.margin)
    lines = [
        _line(name, cells[name], cells[order[0]], fmean(means[name]), pairs[index][0], blocks, settings)
        for index, name in enumerate(order)
    ]
    size = margin(settings.margin, cells[order[0]])
    return Across(
        f"Test {formatting.metric_name(metric)} over {len(blocks)} data sets, the questions of one averaged. Better "
        f"and worse than the leader by more than {size}, or equivalent: probabilities on a data set like these "
        "(Bayesian signed-rank test, Benavoli et al. 2017). Wins: how probably a run of the method scores higher than "
        f"one of the leader, with {100 * settings.confidence:.4g} % intervals over runs on these very data sets "
        "(Agarwal et al. 2021). " + ("Of so few data sets the prior weighs much." if len(blocks) < 5 else ""),
        tuple(lines),
    )


def _line(
    name: str,
    rows: Sequence[CellSummary],
    leader: Sequence[CellSummary],
    mean: float,
    pair: Practical | None,
    blocks: Sequence[Sequence[int]],
    settings: Settings,
) -> Line:
    from harness.statistics.across_datasets import probability_of_improvement

    shown = formatting.score(rows[0].better(mean), rows[0].cell.metric, unit=True)
    if pair is None:
        return Line(name, shown)
    # Runs of different questions have different levels, so each is compared within its question.
    chosen = [index for block in blocks for index in block]
    runs, others = (
        [[each[index].better(value) for value in each[index].test_values] for index in chosen]
        for each in (rows, leader)
    )
    won = probability_of_improvement(runs, others, settings.confidence)
    low, value, high = (f"{100 * share:.0f}" for share in (won.low, won.value, won.high))
    better, equivalent, worse = map(formatting.probability, (pair.better, pair.equivalent, pair.worse))
    return Line(name, shown, better, equivalent, worse, f"{value} % ({low} to {high})")
