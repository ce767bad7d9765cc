"""What adaptive replication did, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.formatting.values import listed, plural
from harness.report.cells.failures import Scores
from harness.report.reading.study import Study

if TYPE_CHECKING:
    from harness.statistics import Sequential


def planned_looks(study: Study) -> list[int]:
    """Return the planned numbers of seeds at each look; [] if the seeds were fixed."""
    confirm = study.sweep.get("confirm")
    plan = confirm.get("looks") if isinstance(confirm, Mapping) else None
    return [int(seeds) for seeds in plan] if isinstance(plan, list) and len(plan) > 1 else []


def told(replay: Sequential, plan: Sequence[int], names: Sequence[str], scores: Sequence[Scores]) -> str:
    """Describe what adaptive replication did.

    Args:
        replay: its looks.
        plan: the planned numbers of seeds.
        names, scores: of the cells that were compared, in one order.
    """
    planned = f"Seeds were added in looks planned at {listed([str(seeds) for seeds in plan])} seeds a cell"
    taken = plural(len(replay.looks), "look")
    alike = [name for name, each in zip(names, scores, strict=True) if same_scores(each[: max(plan[0], 2)])]
    kept = (
        f" None were added to {listed(alike)}: the first {plan[0]} seeds had the same score on every test row."
        if alike and replay.looks
        else ""
    )
    if replay.state == "resolved":
        return f"{planned}; every verdict was reached after {taken}.{kept}"
    if replay.state == "more":
        return f"{planned}; after {taken} more seeds are wanted.{kept}"
    if replay.state == "futile":
        return (
            f"{planned}; after {taken} no more were added, since the seeds that were left would most probably not give "
            f"the verdicts that are open: that takes more test rows.{kept}"
        )
    seeds = max((max(look.seeds) for look in replay.looks), default=0)
    return (
        f"{planned}; after {taken}, with up to {plural(seeds, 'seed')} a cell, some verdicts stay open: more "
        f"seeds than planned, or more test rows, would be needed.{kept}"
    )


def same_scores(scores: Scores) -> bool:
    """Return whether several seeds (S, n) had the same score on every row, which adaptive replication adds none to."""
    return len(scores) > 1 and bool((scores == scores[0]).all())
