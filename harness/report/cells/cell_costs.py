"""The costs of a cell, summarized over its runs as the table of costs says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.cost import COSTS
from harness.records.pricing import dollars
from harness.records.states import Phase
from harness.report.reading.runs import Run, costs

SEARCH = (Phase.TUNE, Phase.RERANK)  # phases of the search for a configuration
PRICE = "dollars"  # the cost that is computed from seconds and the price of the hardware


def cell_costs(
    runs: Sequence[Run], confirmed: Sequence[Run], reported: Sequence[Run], hardware: Mapping[str, Any]
) -> dict[str, float]:
    """Summarize costs, by the names in `COSTS`; unknown ones are absent, and so are those that count serving.

    Args:
        runs: all runs of the cell.
        confirmed: the confirmed runs.
        reported: runs of the reported configuration, for costs that do not differ between runs.
        hardware: section `hardware` of sweep.yaml.
    """
    found = {name: _summary(name, runs, confirmed, reported, hardware) for name in COSTS}
    found["evaluate_share"] = _evaluate_share(confirmed)
    found["thousand_tokens_dollars"] = _token_dollars(found)
    return {
        name: int(value) if COSTS[name].cell == "first" and value == int(value) else value  # a count of the model
        for name, value in found.items()
        if value is not None
    }


def cost_spreads(confirmed: Sequence[Run], hardware: Mapping[str, Any]) -> dict[str, float]:
    """Return the sample standard deviation over the confirmed runs of each cost that is their mean.

    Args:
        confirmed: the confirmed runs; a cost that fewer than two of them hold has no spread.
        hardware: section `hardware` of sweep.yaml.
    """
    names = [name for name in COSTS if COSTS[name].cell == "mean" or name == PRICE]
    known = {name: _known(confirmed, name, hardware) for name in names}
    return {name: statistics.stdev(values) for name, values in known.items() if len(values) > 1}


def _summary(
    name: str, runs: Sequence[Run], confirmed: Sequence[Run], reported: Sequence[Run], hardware: Mapping[str, Any]
) -> float | None:
    how = COSTS[name].cell
    if how == "mean" or name == PRICE:
        return _mean(_known(confirmed, name, hardware))
    if how == "max":
        return max(costs(runs, name), default=None)
    if how == "first":
        return next((value for run in reported if (value := run.cost(name)) is not None), None)
    if how == "tuning":
        # A sum that lacks one run's part is left out, because it would be taken for the whole.
        timed = [run for run in runs if run.phase in SEARCH and run.cost("total_seconds") is not None]
        known = _known(timed, COSTS[name].of, hardware)
        return math.fsum(known) if timed and len(known) == len(timed) else None
    return None


def _known(runs: Sequence[Run], name: str, hardware: Mapping[str, Any]) -> list[float]:
    if name != PRICE:
        return costs(runs, name)
    held = ("accelerator_seconds", "core_seconds")
    prices = (dollars({name: run.cost(name) for name in held}, hardware) for run in runs)
    return [price for price in prices if price is not None]


def _mean(known: Sequence[float]) -> float | None:
    return statistics.fmean(known) if known else None


def _evaluate_share(confirmed: Sequence[Run]) -> float | None:
    """Return the share of a confirmed run's time that was spent on evaluation; None if unknown."""
    names = ("evaluate_seconds", "total_seconds", "train_seconds")
    judged, whole, trained = (_mean(costs(confirmed, name)) for name in names)
    if judged is None or not whole:
        return None
    # Results reused from a cache are charged to the parts of a run, but their time was not spent.
    return judged / max(whole, judged + (trained or 0.0))


def _token_dollars(found: Mapping[str, float | None]) -> float | None:
    """Return the price of 1,000 written tokens: a second costs what one of a training run does; None if unknown."""
    writing, price, seconds = (found[name] for name in ("thousand_tokens_seconds", PRICE, "total_seconds"))
    return None if writing is None or price is None or not seconds else writing * price / seconds
