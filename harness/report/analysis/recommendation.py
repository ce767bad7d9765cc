"""Recommend a cell, the cheapest that is shown to be as good as the best, and explain why in a sentence."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.api.cost import COSTS, SECONDS, unit_of
from harness.formatting.escape import plain
from harness.formatting.values import cost, difference, listed, metric_name, plural, score
from harness.report.analysis.samples import DRAW, SEED, TUNING
from harness.report.analysis.today import Today, chances, price
from harness.report.cells.cell_summary import CellSummary, facts
from harness.report.cells.failures import Failures
from harness.report.cells.row_names import name
from harness.report.cells.selection import Selection, of_choice
from harness.report.cells.settings import Settings
from harness.statistics import Verdict
from harness.statistics.ownership import Ownership

GOOD = ("better", "not worse")  # verdicts that qualify a cell for recommendation
TIE = 0.05  # costs that differ by less than this share tie: times of two runs of the same cell differ as much
Judged = Sequence[tuple[CellSummary, Verdict | None]]


@dataclass(frozen=True)
class Standing:
    """What the recommendation in a comparison group rests on.

    Attributes:
        judged: its cells with their verdicts.
        top: the cell with the best mean, its failed runs counted; None if no cell has a test score.
        chosen: the recommended cell; None while there is none.
        missing: cells that were not compared and may be the best.
        failures: by `id()` of the cell summary.
        means: mean test scores with the failed runs counted, by `id()`, of cells that have such runs.
        selections: what validation says of the choices of tuned cells, by `id()`.
        today: which cell to choose now; None if fewer than two cells were compared.
        varied: what the confirmations vary, see `harness.report.analysis.samples.varied`.
    """

    judged: Judged
    top: CellSummary | None
    chosen: CellSummary | None
    missing: Sequence[CellSummary] = ()
    failures: Mapping[int, Failures] = field(default_factory=dict)
    means: Mapping[int, float] = field(default_factory=dict)
    selections: Mapping[int, Selection | None] = field(default_factory=dict)
    today: Today | None = None
    varied: Sequence[str] = (SEED,)

    @property
    def group(self) -> list[CellSummary]:
        """The cells."""
        return [row for row, _ in self.judged]


def cost_of(row: CellSummary, settings: Settings, name: str | None = None) -> float | None:
    """Return a cost of a cell; None if unknown.

    Args:
        row: the cell.
        settings: the requests that the model serves, for costs that count serving.
        name: of the cost; None: the one that the recommendation minimizes.
    """
    name = name or settings.cost
    if not COSTS[name].serves:
        return row.costs.get(name)
    if settings.requests_per_month is None:
        return None
    return ownership(row, unit_of(name)).total(settings.requests_per_month, settings.months)


def ownership(row: CellSummary, unit: str) -> Ownership:
    """Return the cost of a cell's tuning, training and each request, in dollars or in seconds of the machine.

    A request is one text at the median latency of the confirmed runs, on the device and cores that they had.
    """
    latency = row.costs.get("latency_p50_seconds")
    if unit == SECONDS:
        return Ownership(row.costs.get("tune_seconds"), row.costs.get("total_seconds"), latency)
    total, training = row.costs.get("total_seconds"), row.costs.get("dollars")
    # A second of the machine has the same price for training and serving.
    request = latency * training / total if latency is not None and training is not None and total else None
    return Ownership(row.costs.get("tune_dollars"), training, request)


def cheapest(judged: Judged, settings: Settings) -> CellSummary | None:
    """Return the cheapest cell with a good verdict; None if none has a known cost.

    Costs within `TIE` of the lowest one tie, and the better score decides: a time is only known as well as the machine
    repeats it.
    """
    tied = _tied(judged, settings)
    order = [(-row.better(row.test_mean or 0.0), price, index) for index, (row, price) in enumerate(tied)]
    return tied[min(order)[2]][0] if order else None


def _tied(judged: Judged, settings: Settings) -> list[tuple[CellSummary, float]]:
    good = [
        (row, price)
        for row, verdict in judged
        if verdict and verdict.word in GOOD and (price := cost_of(row, settings)) is not None
    ]
    least = min((price for _, price in good), default=0.0)
    return [(row, price) for row, price in good if price <= least * (1 + TIE)]


def recommendation(found: Standing, settings: Settings) -> tuple[str, str]:
    """Explain which cell to choose, or what is missing for a recommendation.

    Returns:
        The answer in a sentence or two, and what it rests on; "" if the answer says all.
    """
    lead, rest = _explained(found, settings)
    return plain(lead), plain(rest)


def _explained(found: Standing, settings: Settings) -> tuple[str, str]:
    group, top, chosen = found.group, found.top, found.chosen
    where = _where(group)
    if top is None:
        return _without_test(group, where), _unconfirmed(group, named=False).strip()
    verdicts = {id(row): verdict for row, verdict in found.judged if verdict is not None}
    rest = _failed(found, settings) + _unconfirmed(group)
    lead = f"{name(top, group)} has the best mean, {_score(top)}"
    best = f"The best mean is that of {name(top, group)}, {_score(top)}"  # a leading name would be capitalized
    if sum(row.test_mean is not None for row in group) == 1:
        return f"{where}, {name(top, group)} is the only cell with a test score: {_score(top)}.", rest.strip()
    if not verdicts:
        missing = "Nothing can be compared: the predictions of the runs are needed for that."
        return f"{where}, {lead}.", f"{missing}{rest}"
    unresolved = [row for row in group if id(row) in verdicts and verdicts[id(row)].word == "unresolved"]
    end = _open(unresolved, group, verdicts) + rest + _scope(found, verdicts)
    if chosen is not None:
        text = f"{where}, choose {name(chosen, group)}: {_score(chosen)}.{_chances(found, chosen, settings)}"
        end += of_choice(chosen, found.selections.get(id(chosen)), group)
        return text, f"{_reason(found, verdicts, settings)}{end}"
    why = _why_none(found, verdicts, settings)
    if found.today is None:
        return f"{where}, no cell can be recommended: {why}.", f"{best}{end}"
    row = found.today.row
    text = f"{where}, choose {name(row, group)} today: {_score(row)}.{_chances(found, row, settings)}"
    return (
        f"{text} {price(found.today, row)}.",
        f"By the strict verdicts no cell can be recommended: {why}. {best}{end}"
        + of_choice(row, found.selections.get(id(row)), group),
    )


def _why_none(found: Standing, verdicts: Mapping[int, Verdict], settings: Settings) -> str:
    """Say why the verdicts recommend no cell."""
    group, top = found.group, found.top
    assert top is not None  # cells were compared
    if found.missing:
        left_out = listed([name(row, group) for row in found.missing])
        return f"{left_out} could not be compared (see the notes), and may be the best"
    if any(verdict.word in GOOD for verdict in verdicts.values()):
        return f"the {COSTS[settings.cost].title} of the cells that are as good is not known"
    return f"none is shown to be less than {_margin(top, settings)} {_worse(top)} the best"


def _chances(found: Standing, row: CellSummary, settings: Settings) -> str:
    if found.today is None or id(row) not in found.today.odds:
        return ""
    return f" {chances(found.today, row, settings)}."


def _reason(found: Standing, verdicts: Mapping[int, Verdict], settings: Settings) -> str:
    """Say why the chosen cell was chosen."""
    group, top, chosen = found.group, found.top, found.chosen
    assert top is not None and chosen is not None  # a cell is chosen among those with a test score
    verdict, metric = verdicts[id(chosen)], top.cell.metric
    good = [row for row in group if id(row) in verdicts and verdicts[id(row)].word in GOOD]
    priced = [row for row in good if cost_of(row, settings) is not None]
    unknown = f" (that of {plural(len(good) - len(priced), 'other')} is not known)" if len(priced) < len(good) else ""
    shown = f"shown to be less than {_margin(top, settings)} {_worse(top)} the best"
    lowest = f"the lowest {COSTS[settings.cost].title} ({_price(chosen, settings)}"
    lowest += f"; {tie}" if (tie := _tie(found, settings)) else ""
    among = f") of the {plural(len(priced), 'cell')}{unknown} {shown}"
    if chosen is not top:
        most = difference(max(0.0, -verdict.low), metric)
        lead = f"{name(top, group)} has the best mean, {_score(top)}"
        return f"It has {lowest}{among}: at most {most} {_worse(top)} it, while {lead}"
    if verdict.word == "better":
        others = "other cell" if len(verdicts) == len(group) else "other cell that was compared"
        return f"It is better than every {others}, by at least {difference(verdict.low, metric)}"
    if len(good) > 1:
        return f"It has the best mean and {lowest}{among}"
    return f"It is the only cell {shown}"


def _price(row: CellSummary, settings: Settings) -> str:
    """Return the cost that decides, with its standard deviation over the runs if it is known."""
    text, spread = cost(settings.cost, cost_of(row, settings)), row.spreads.get(settings.cost)
    return text if not spread else f"{text} ± {cost(settings.cost, spread)}"


def _tie(found: Standing, settings: Settings) -> str:
    """Name the cells whose cost ties with that of the chosen cell."""
    tied = [row for row, _ in _tied(found.judged, settings) if row is not found.chosen]
    if not tied:
        return ""
    names = listed([f"{name(row, found.group)}, {_price(row, settings)}," for row in tied])
    return f"{names} {'ties' if len(tied) == 1 else 'tie'} with it, within {TIE:.0%}, and the better score decides"


def _open(unresolved: Sequence[CellSummary], group: Sequence[CellSummary], verdicts: Mapping[int, Verdict]) -> str:
    """Complete a sentence with the unresolved cells, and what would resolve them."""
    if not unresolved:
        return "."
    names = listed([name(row, group) for row in unresolved])
    gaps = [verdicts[id(row)].detectable for row in unresolved]
    metric = unresolved[0].cell.metric
    typical = difference(statistics.median(gaps), metric)
    if len(gaps) == 1:
        be, what, gap = "is", "that cell", f"gaps from {typical} on"
    else:
        widest = f"{score(min(gaps), metric)} to {difference(max(gaps), metric)}"
        be, what, gap = "are", "those cells", f"gaps from {typical} on in the median cell ({widest} in all)"
    return (
        f". Not resolved {be} {names}: this data tells {gap}; more seeds or more test rows may tell whether {what} "
        "will do."
    )


def _scope(found: Standing, verdicts: Mapping[int, Verdict]) -> str:
    """Say what the verdicts hold for: what was not varied may give others."""
    models = any(verdict.scope == "models" for verdict in verdicts.values())
    text = " With one seed this holds for these trained models, not for the methods." if models else ""
    tuned = any(row.cell.space and row.trials > 1 for row in found.group)
    parts = ["the configurations that one tuning run found"] if tuned and TUNING not in found.varied else []
    if DRAW not in found.varied:
        drawn = any(_draws(row) for row in found.group)
        parts.append("this draw of training rows" if drawn else "these training rows")
    return f"{text} It holds for {listed(parts)}." if parts else text


def _draws(row: CellSummary) -> bool:
    """Return whether a cell's training rows were drawn from more."""
    return any(facts(record).get("shots") for record in row.evaluated)


def _failed(found: Standing, settings: Settings) -> str:
    """Count the runs that failed or collapsed, cell by cell, and say how verdicts count those that failed."""
    group = found.group
    told, crashed = [], []
    for row in group:
        known = found.failures.get(id(row))
        if known is None or not known.number or row.test_mean is None:
            continue
        runs = f"of {plural(known.ended, 'run')} of {name(row, group)}"
        parts = [f"{known.crashed} {runs} failed"] if known.crashed else []
        if known.collapsed:
            what = f"{known.collapsed} {'' if parts else f'{runs} '}collapsed"
            parts.append(f"{what} (not above the most frequent class)")
        told.append(" and ".join(parts))
        crashed += [row] if known.crashed else []
    if not told:
        return ""
    text = f" {listed(told, 8)}."
    if not crashed:
        return text
    how = {
        "majority": "count them as the most frequent class", "worst": "count them as the cell's worst seed",
        "excluded": "leave them out",
    }[settings.failed_as]  # fmt: skip
    means = [
        f"the mean of {name(row, group)} is then {score(found.means[id(row)], row.cell.metric, unit=True)}"
        for row in crashed
        if id(row) in found.means and settings.failed_as != "excluded"
    ]
    return f"{text} Verdicts {how}{': ' if means else ''}{listed(means)}."


def _unconfirmed(group: Sequence[CellSummary], named: bool = True) -> str:
    """Name the cells whose results are missing, since they may change the recommendation."""
    absent = [row for row in group if not row.settled and row.test_mean is None and row.val_best is not None]
    partly = [row for row in group if not row.settled and row.test_mean is not None and row.unconfirmed]
    text = ""
    if absent and named:
        known = [
            f"{name(row, group)} ({score(row.val_best, row.cell.metric, unit=True)} in validation)" for row in absent
        ]
        text += f" Not confirmed yet, so {'it' if len(absent) == 1 else 'they'} may be better: {listed(known)}."
    if partly:
        known = [
            f"{name(row, group)} ({len(row.seeds)} of {len(row.seeds) + len(row.crashed) + row.unconfirmed} seeds)"
            for row in partly
        ]
        text += f" Confirmed in part: {listed(known)}."
    return text


def _where(group: Sequence[CellSummary]) -> str:
    task, axes, _ = group[0].question
    where = f"On {task}{f' ({axes})' if axes else ''}" if task else "Here"
    if all(row.settled for row in group) or not any(row.test_mean is not None for row in group):
        return where
    tested = sum(row.test_mean is not None for row in group)
    return f"{where} so far ({tested} of {plural(len(group), 'cell')} tested)"


def _score(row: CellSummary) -> str:
    return f"{score(row.test_mean, row.cell.metric, unit=True)} test {metric_name(row.cell.metric)}"


def _worse(row: CellSummary) -> str:
    return "above" if row.minimize else "below"


def _margin(row: CellSummary, settings: Settings) -> str:
    return difference(settings.margin, row.cell.metric)


def _without_test(group: Sequence[CellSummary], where: str) -> str:
    scored = [row for row in group if row.val_best is not None]
    if not scored:
        return f"{where}, nothing has been measured yet."
    top = max(scored, key=lambda row: row.better(row.val_best or 0.0))
    metric = top.cell.metric
    return (
        f"{where}, no cell has met the test split yet; the best validation {metric_name(metric)} so far is "
        f"{score(top.val_best, metric, unit=True)}, by {name(top, group)}."
    )
