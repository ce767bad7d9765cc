"""Which cell to choose today, whatever the verdicts: probabilities, the expected loss, and the price of certainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.formatting.values import difference, dollars, duration, percent, probability
from harness.report.analysis.samples import Samples
from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.settings import Settings

if TYPE_CHECKING:
    from harness.statistics.sample_size import Needed


@dataclass(frozen=True)
class Odds:
    """What is known of a cell, were it chosen.

    Attributes:
        best: probability that it is the best.
        within: probability that it is less than the margin below the best.
        regret: expected distance below the best, in the unit of the metric.
    """

    best: float
    within: float
    regret: float


@dataclass(frozen=True)
class Today:
    """The answer to which cell to choose now.

    Attributes:
        row: the cell with the least expected regret, of ties the cheapest.
        odds: of every cell that was compared, by `id()`.
        samples: what they rest on.
        needed: what a verdict on each cell would take, by `id()`.
    """

    row: CellSummary
    odds: Mapping[int, Odds]
    samples: Samples
    needed: Mapping[int, Needed]


def decide(given: Samples, costs: Sequence[float | None], settings: Settings) -> Today:
    """Decide which of at least two cells to choose.

    Args:
        given: their scores.
        costs: of each, in any unit; None if unknown.
        settings: margin and confidence.
    """
    from harness.statistics.expected_regret import choose
    from harness.statistics.sample_size import needed

    found = choose(given.scores, settings.margin, costs, **given.structure)
    known = zip(given.rows, found.best, found.within, found.regret, strict=True)
    odds = {id(row): Odds(best, within, regret) for row, best, within, regret in known}
    takes = needed(given.scores, settings.margin, 1 - settings.confidence, **given.structure)
    more = {id(row): each for row, each in zip(given.rows, takes, strict=True)}
    return Today(given.rows[found.cell], odds, given, more)


def chances(today: Today, row: CellSummary, settings: Settings) -> str:
    """Say how likely a cell is the best, how likely within the margin of it, and what it is expected to lose."""
    odds, metric = today.odds[id(row)], row.cell.metric
    margin = f"less than {difference(settings.margin, metric)} {'above' if row.minimize else 'below'} the best"
    loss = difference(odds.regret, metric)
    if percent(metric) and odds.regret < 0.0005:
        loss = "under 0.1 points"
    return (
        f"It is the best with a probability of {_worded(odds.best)}, and {margin} with {_worded(odds.within)}; "
        f"the expected loss is {loss}"
    )


def _worded(share: float) -> str:
    return probability(share).replace("<", "under ").replace(">", "over ")


def price(today: Today, row: CellSummary) -> str:
    """Say what it would take to be sure of a cell: seeds with their cost, test rows, or that no number suffices."""
    known, rows = today.needed[id(row)], today.samples.scores[0].shape[1]
    if known.seeds is not None and known.seeds <= 1:
        return "To be sure of it, nothing more is needed"
    ways = []
    if known.seeds is not None:
        ways.append(f"{known.seeds:.2g} times the seeds{_cost(today, known.seeds)}")
    if known.rows is not None:
        ways.append(f"{known.rows:.2g} times the test rows (about {_rounded(known.rows * rows):,})")
    if not ways and known.both is not None:
        seeds = f"{known.both:.2g} times the seeds{_cost(today, known.both)}"
        ways.append(f"{seeds} with as many times the test rows (about {_rounded(known.both * rows):,})")
    never = "" if known.seeds is not None else f"no number of seeds will settle it with these {rows:,} test rows"
    if not ways:
        return f"To be sure of it is out of reach: its gap to the best is about the margin, and {never}"
    takes = f"To be sure of it takes {' or '.join(ways)}, if the gaps are as they seem"
    return f"{takes}; {never}" if never else takes


def _cost(today: Today, times: float) -> str:
    """Return what more seeds of the cells that are not worse cost, from their confirmed runs; "" if that is unknown."""
    runs = [len(scores) * (times - 1) for scores in today.samples.scores]
    parts = []
    for name, write in (("total_seconds", duration), ("dollars", dollars)):
        each = [row.costs.get(name) for row in today.samples.rows]
        if all(value is not None for value in each):
            parts.append(write(sum(count * (value or 0.0) for count, value in zip(runs, each, strict=True))))
    return f" of every cell ({', '.join(parts)} more)" if parts else " of every cell"


def _rounded(number: float) -> int:
    digits = max(len(str(int(number))) - 2, 0)
    return int(round(number, -digits))
