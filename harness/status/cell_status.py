"""Progress of a study's cells, counted from sweep.yaml, choices.json and the records of the runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.cell_facts import Recorded, best_trial, confirmations, minimizes, state
from harness.records.record import Record
from harness.records.signature import joint_group_key
from harness.records.states import FAILURES, CellState, RunStatus, Unfinished


@dataclass(frozen=True)
class CellStatus:
    """Progress of a cell. All counts are numbers of runs.

    Attributes:
        state: how far it is.
        tuned: trials that have ended.
        trials: planned number of trials; None: as many as the time budget allows.
        confirmed: ended confirmation runs of the chosen configuration; for single runs: ended runs.
        seeds: planned number of confirmation runs.
        paused: runs that wait at a rung for a promotion decision.
        interrupted: runs that no process executes now; they resume from their checkpoints.
        best: best validation score so far, a fraction.
    """

    id: str
    state: CellState
    tuned: int
    trials: int | None
    confirmed: int
    seeds: int
    running: int
    queued: int
    failed: int
    paused: int
    interrupted: int
    metric: str
    best: float | None


def cells(
    asked: Mapping[str, Any], choices: Mapping[str, Any], records: Mapping[str, Record], doing: Mapping[str, Unfinished]
) -> list[CellStatus]:
    """Count the runs of each cell of a study, in the order of sweep.yaml.

    Args:
        asked: content of sweep.yaml; {} for single runs.
        choices: content of choices.json.
        records: by `<cell>/<run>`.
        doing: state of each run that has not ended, by `<cell>/<run>`.
    """
    by_cell: dict[str, dict[str, Record]] = {}
    for name, record in records.items():
        by_cell.setdefault(name.split("/")[0], {})[name] = record
    entries = {str(cell["id"]): cell for cell in asked.get("cells", []) if isinstance(cell, dict) and "id" in cell}
    names = [*entries, *sorted({*by_cell, *(name.split("/")[0] for name in doing)} - set(entries))]
    joint = _mapping(asked.get("tune")).get("mode") == "joint"
    groups: dict[str, list[str]] = {}  # cells that share a budget
    for cell in names:
        groups.setdefault(_group(entries.get(cell, {})) if joint and cell in entries else cell, []).append(cell)
    found = {}
    for group in groups.values():
        ended = [r for cell in group for n, r in by_cell.get(cell, {}).items() if n not in doing and r.phase == "tune"]
        passed = joint and any(cell in choices for cell in group)
        for cell in group:
            found[cell] = _cell(
                cell, entries.get(cell, {}), asked, by_cell.get(cell, {}), doing, _mapping(choices.get(cell)),
                ended if joint else None, passed,
            )  # fmt: skip
    return [found[cell] for cell in names]


def _group(entry: Mapping[str, Any]) -> str:
    """Return the key of the joint study that a cell belongs to."""
    return joint_group_key(entry.get("task"), entry.get("model"), entry.get("variant"))


def _cell(
    cell: str,
    entry: Mapping[str, Any],
    asked: Mapping[str, Any],
    records: Mapping[str, Record],
    doing: Mapping[str, Unfinished],
    choice: Mapping[str, Any],
    shared: list[Record] | None,
    passed: bool,
) -> CellStatus:
    """Count the runs of one cell.

    Args:
        shared: tuning runs of all cells that share its budget; None if it has its own.
        passed: whether the joint study has chosen its finalists, so that a cell without a choice is not one.
    """
    ended = [record for name, record in records.items() if name not in doing]
    tuned = [record for record in ended if record.phase == "tune"]
    now = Counter(what for name, what in doing.items() if name.split("/")[0] == cell)
    metric = str(entry.get("metric") or "")
    limits = _mapping(_mapping(asked.get("tune")).get("constraints"))
    runs = [Recorded(record) for record in ended]
    best = best_trial(runs, metric, minimizes(metric, entry.get("direction")), limits)
    if not entry:  # single runs: no budget and no confirmation
        trials: int | None = 0
        chosen = runs
        seeds = len(records)
        over = True
    else:
        trials, over = _budget(entry, asked, tuned, shared)
        over = over or passed or (bool(choice) and _chosen_everywhere(choice, asked))
        chosen = confirmations(runs, choice.get("signatures") or (), best)
        begun = choice.get("signatures") or _mapping(asked.get("confirm")).get("seeds") or []
        seeds = max(len(begun), len(chosen))  # adaptive replication may have added seeds
        if passed and not choice:
            chosen, seeds = [], 0
    ok = sum(run.status == RunStatus.OK for run in chosen)
    worked = best is not None or ok > 0
    nothing_worked = over and not worked and bool(entry) and not now
    return CellStatus(
        id=cell,
        state=state(
            over=over, busy=bool(now), begun=bool(records), worked=worked, ended=len(chosen), ok=ok, wanted=seeds
        ),
        tuned=len(tuned),
        trials=len(tuned) if over and not nothing_worked else trials if trials is None else max(trials, len(tuned)),
        confirmed=len(chosen), seeds=seeds, running=now[Unfinished.RUNNING], queued=now[Unfinished.QUEUED],
        paused=now[Unfinished.PAUSED], interrupted=now[Unfinished.INTERRUPTED],
        failed=sum(record.status in FAILURES for record in ended),
        metric=metric, best=best.metric("val", metric) if best else None,
    )  # fmt: skip


def _chosen_everywhere(choice: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Return whether every replicate of a cell has its choice."""
    wanted = int(_mapping(asked.get("confirm")).get("replicates") or 1)
    return wanted == 1 or len(choice.get("replicates") or ()) >= wanted


def _budget(
    entry: Mapping[str, Any], asked: Mapping[str, Any], tuned: list[Record], shared: list[Record] | None
) -> tuple[int | None, bool]:
    """Return the number of trials of a cell (None: as many as time allows), and whether its tuning is over."""
    tune = _mapping(asked.get("tune"))
    trials, limit = tune.get("trials"), tune.get("seconds")
    if shared is not None:  # the budget is shared, so the number per cell is unknown
        spent = sum(record.cost.get("total_seconds") or 0.0 for record in shared)
        return None, (trials is not None and len(shared) >= trials) or (limit is not None and spent >= limit)
    confirm = _mapping(asked.get("confirm"))
    tunings = int(confirm.get("replicates") or 1) if "tuning" in (confirm.get("vary") or ()) else 1
    finite = _size(_mapping(_mapping(entry.get("question")).get("space")))
    if finite is not None:
        trials = finite if trials is None else min(trials, finite)
    trials = None if trials is None else trials * tunings
    spent = sum(record.cost.get("total_seconds") or 0.0 for record in tuned)
    failures = _mapping(_mapping(entry.get("config")).get("tune")).get("max_failures")
    failed = [record for record in tuned if record.status in FAILURES]
    given_up = failures is not None and len(failed) == len(tuned) >= failures
    over = (trials is not None and len(tuned) >= trials) or (limit is not None and spent >= limit)
    return trials, over or given_up


def _size(space: Mapping[str, Any]) -> int | None:
    """Return the number of configurations in a space, given as Optuna's JSON; None if it is not finite."""
    total = 1
    for text in space.values():
        try:
            content = json.loads(text)
            attributes = content["attributes"]
            if content["name"] == "CategoricalDistribution":
                total *= len(attributes["choices"])
            elif attributes.get("step"):
                total *= round((attributes["high"] - attributes["low"]) / attributes["step"] + 1e-9) + 1
            else:
                return None
        except (ValueError, KeyError, TypeError):
            return None
    return total


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
