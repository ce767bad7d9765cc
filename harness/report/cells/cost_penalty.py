"""A score that costs reduce, after PSCP of PEFT-Bench (Belanec et al. 2025, arXiv 2511.21285).

PSCP = score x (1 + parameters / 5e8)^-1 x (1 + extra inference / c)^-1 x (1 + memory / 94 GB)^-1, with the constants
and exponents of its published code: 500 million trained parameters, and the memory of a large GPU. Its inference cost
is in TFLOPs above the base model (c = 10), of which records hold none, so here it is the median latency above that of
the fastest cell on the same model and question, in units of that latency: a cell that is twice as slow keeps half of
its score. So values of different questions, or from different machines, are not comparable, nor are they with
published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.formatting.values import percent
from harness.report.cells.cell_summary import CellSummary

PARAMETERS = 5e8  # trained parameters that halve the score
MEBIBYTES = 94e9 / 2**20  # peak memory that halves the score
SLOWER = 1.0  # extra latency, in units of the fastest latency, that halves the score


def cost_penalized(row: CellSummary, question: Sequence[CellSummary]) -> float | None:
    """Return a cell's mean test score reduced by its costs, as a fraction.

    Args:
        row: the cell.
        question: the cells of its comparison group.

    Returns:
        None if the metric is no fraction of which more is better, or if the score, the trained parameters, the memory
        or the latency is unknown.
    """
    latency, memory = row.costs.get("latency_p50_seconds"), row.costs.get("peak_memory_mb")
    parameters = row.costs.get("params_trainable")
    if row.test_mean is None or row.minimize or not percent(row.cell.metric):
        return None
    if latency is None or memory is None or parameters is None:
        return None
    known = [each.costs.get("latency_p50_seconds") for each in question if each.cell.model == row.cell.model]
    fastest = min(value for value in known if value is not None)
    extra = latency / fastest - 1 if fastest else 0.0
    return row.test_mean / (1 + parameters / PARAMETERS) / (1 + extra / SLOWER) / (1 + memory / MEBIBYTES)
