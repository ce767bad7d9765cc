"""Recommend a cell, the cheapest that is shown to be as good as the best, and explain why in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.api.cost import COSTS, SECONDS, unit_of
from harness.formatting.escape import plain
from harness.formatting.values import cost, listed, metric_name, percent, plural, score
from harness.records.states import CellOutcome
from harness.report.analysis.cell_summary import CellSummary
from harness.report.analysis.row_names import name
from harness.report.analysis.settings import Settings
from harness.statistics import Verdict
from harness.statistics.ownership import Ownership

GOOD = ("better", "not worse")  # verdicts that qualify a cell for recommendation
Judged = Sequence[tuple[CellSummary, Verdict | None]]


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
    """Return the cheapest cell with a good verdict, ties by the better score; None if none has a known cost."""
    good = [(row, cost_of(row, settings)) for row, verdict in judged if verdict and verdict.word in GOOD]
    order = [
        (price, -row.better(row.test_mean or 0.0), index)
        for index, (row, price) in enumerate(good)
        if price is not None
    ]
    return good[min(order)[2]][0] if order else None


def rivals_missing(judged: Judged) -> list[CellSummary]:
    """Return cells that could be the best but were not compared: while there are any, none can be recommended."""
    compared = [row.better(row.test_mean) for row, verdict in judged if verdict and row.test_mean is not None]
    return [
        row
        for row, verdict in judged
        if verdict is None and row.test_mean is not None and compared and row.better(row.test_mean) >= min(compared)
    ]


def recommendation(judged: Judged, top: CellSummary | None, chosen: CellSummary | None, settings: Settings) -> str:
    """Explain which cell to choose, or what is missing for a recommendation."""
    group = [row for row, _ in judged]
    where = _where(group[0])
    if top is None:
        return plain(_without_test(group, where))
    verdicts = {id(row): verdict for row, verdict in judged if verdict is not None}
    scored = [row for row in group if row.test_mean is not None]
    if any(row.status in (CellOutcome.RUNNING, CellOutcome.NOT_STARTED) for row in group):
        tested = sum(row.test_mean is not None for row in group)
        where += f" so far ({tested} of {plural(len(group), 'cell')} tested)"
    lead = f"{name(top, group)} has the best mean, {_score(top)}"
    best = f"The best mean is that of {name(top, group)}, {_score(top)}"  # a leading name would be capitalized
    if len(scored) == 1:
        return plain(f"{where}, {name(top, group)} is the only cell with a test score: {_score(top)}.")
    if not verdicts:
        return plain(f"{where}, {lead}. Nothing can be compared: the predictions of the runs are needed for that.")
    if missing := rivals_missing(judged):
        left_out = listed([name(row, group) for row in missing])
        return plain(
            f"{where}, no cell can be recommended: {left_out} could not be compared (see the notes), and may be "
            f"the best. {best}."
        )
    good = [row for row in group if id(row) in verdicts and verdicts[id(row)].word in GOOD]
    unresolved = [row for row in group if id(row) in verdicts and verdicts[id(row)].word == "unresolved"]
    if chosen is None:
        why = f"the {COSTS[settings.cost].title} of the cells that are as good is not known" if good else (
            f"none is shown to be less than {_margin(top, settings)} below the best"
        )  # fmt: skip
        text = f"{where}, no cell can be recommended: {why}. {best}"
        return plain(text + _open(unresolved, group, verdicts) + _scope(verdicts.values()))
    text = f"{where}, choose {name(chosen, group)}: {_score(chosen)}. "
    verdict = verdicts[id(chosen)]
    lowest = f"the lowest {COSTS[settings.cost].title} ({cost(settings.cost, cost_of(chosen, settings))})"
    priced = [row for row in good if cost_of(row, settings) is not None]
    of_unknown = (
        f" (that of {plural(len(good) - len(priced), 'other')} is not known)" if len(priced) < len(good) else ""
    )
    shown = f"shown to be less than {_margin(top, settings)} below the best"
    among = f"of the {plural(len(priced), 'cell')}{of_unknown} {shown}"
    if chosen is not top:
        below = score(max(0.0, -verdict.low), top.cell.metric)
        text += f"It has {lowest} {among}: at most {below}{_points(top)} below it, while {lead}"
    elif verdict.word == "better":
        text += f"It is better than every other cell, by at least {score(verdict.low, top.cell.metric)}{_points(top)}"
    elif len(good) > 1:
        text += f"It has the best mean and {lowest} {among}"
    else:
        text += f"It is the only cell shown to be less than {_margin(top, settings)} below the best"
    return plain(text + _open(unresolved, group, verdicts) + _scope(verdicts.values()))


def _open(unresolved: Sequence[CellSummary], group: Sequence[CellSummary], verdicts: dict[int, Verdict]) -> str:
    """Complete a sentence with the unresolved cells, and what would resolve them."""
    if not unresolved:
        return "."
    names = listed([name(row, group) for row in unresolved])
    gap = max(verdicts[id(row)].detectable for row in unresolved)
    be, what = ("is", "that cell") if len(unresolved) == 1 else ("are", "those cells")
    metric = unresolved[0].cell.metric
    return (
        f". Not resolved {be} {names}: this data tells gaps from {score(gap, metric)}{_points(unresolved[0])} on; more "
        f"seeds or more test rows may tell whether {what} will do."
    )


def _scope(verdicts: Iterable[Verdict]) -> str:
    models = any(verdict.scope == "models" for verdict in verdicts)
    return " With one seed this holds for these trained models, not for the methods." if models else ""


def _where(row: CellSummary) -> str:
    task, axes, _ = row.question
    return f"On {task}{f' ({axes})' if axes else ''}" if task else "Here"


def _score(row: CellSummary) -> str:
    return f"{score(row.test_mean, row.cell.metric, unit=True)} test {metric_name(row.cell.metric)}"


def _points(row: CellSummary) -> str:
    return " points" if percent(row.cell.metric) else ""


def _margin(row: CellSummary, settings: Settings) -> str:
    size = score(settings.margin, row.cell.metric)
    return f"{size} {'point' if size == '1.0' else 'points'}" if percent(row.cell.metric) else size


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
