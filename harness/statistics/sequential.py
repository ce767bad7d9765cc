"""Adaptive replication: replay the planned looks, and add seeds only while verdicts are unresolved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from harness.errors import HarnessError
from harness.statistics.alpha_spending import spend
from harness.statistics.comparison import Comparison, Verdict, analyzed, judge
from harness.statistics.sample_size import settled_by_seeds
from harness.statistics.variance.components import Components, Scores
from harness.statistics.variance.pairwise_errors import pairs
from harness.statistics.variance.row_clusters import Groups

State = Literal["resolved", "more", "cap", "futile"]
# A cell gets no more seeds if all that are planned would give it a verdict with less than this probability.
FUTILE = 0.1


@dataclass(frozen=True)
class Look:
    """One look at the data.

    Attributes:
        seeds: number of seeds that it used of each cell, of each of its replicates.
        alpha: the error rate that it may use.
        comparison: its result.
    """

    seeds: tuple[int, ...]
    alpha: float
    comparison: Comparison


@dataclass(frozen=True)
class Sequential:
    """State of adaptive replication.

    Attributes:
        looks: the looks taken so far.
        verdicts: one per cell: from the look that reached it, else from the last; all unresolved before the first look.
        wanted: seeds that each cell (each of its replicates) should have for the next look; its present number if none
            are to be added.
        state: "resolved": every cell has its verdict; "more": the next look needs the seeds in `wanted`; "cap": no
            planned look is left, or none could add seeds; "futile": seeds are left, but even all of
            them would most probably not give the open verdicts.
    """

    looks: tuple[Look, ...]
    verdicts: tuple[Verdict, ...]
    wanted: tuple[int, ...]
    state: State


def sequential(
    cells: Sequence[Scores],
    plan: Sequence[int],
    margin: float,
    alpha: float = 0.05,
    capped: Sequence[bool] | None = None,
    span: float = math.inf,
    replicates: Sequence[Sequence[int]] | None = None,
    paired: bool = False,
    groups: Groups | None = None,
) -> Sequential:
    """Replay the planned looks. The result depends on the scores only, so a resumed study decides as the first did.

    Look j uses the first plan[j] seeds of the cells that are still open and, for the others, the seeds they had when
    they were closed. It tests at its share of alpha (`spend`), so all looks together have an error rate of at most
    alpha although seeds are added until the verdicts are reached (Lan & DeMets 1983). The limits of all looks hold
    simultaneously, so each look builds on those before it, and a verdict that was reached stands, or becomes stronger.
    After a look, more seeds go to the unresolved cells and to those that keep them unresolved; never to a cell whose
    seeds gave identical scores, nor for the sake of a cell to which all planned seeds would hardly give a verdict
    (stochastic curtailment: Lan, Simon & Halperin 1982). Stopping early for that adds no errors.

    Args:
        cells: K arrays (S_k, n) of scores, seeds in planned order.
        plan: seeds per cell (of each of its replicates) at each look, rising; at least 1 look.
        margin, alpha, span, replicates, paired, groups: see `compare`.
        capped: cells that get no more seeds in any case, because theirs failed or the study has ended; they take part
            with the seeds they have. None: no cell.

    Raises:
        HarnessError: the plan does not rise from at least 1, or what `compare` refuses.
    """
    if not plan or plan[0] < 1 or any(after <= before for before, after in pairwise(plan)):
        raise HarnessError(f"The looks must be planned at rising numbers of seeds, not at {list(plan)}.")
    labels = [np.zeros(len(scores), dtype=int) for scores in cells]
    if replicates is not None:
        labels = [np.asarray(of) for of in replicates]
    order = [_position(of) for of in labels]
    counts = [np.unique(of, return_counts=True)[1] for of in labels]
    have, most = (np.array([of(each) for each in counts]) for of in (np.min, np.max))

    def analysis(used: np.ndarray) -> tuple[list[Components], bool]:
        kept = [position < count for position, count in zip(order, used, strict=True)]
        seen = [scores[keep] for scores, keep in zip(cells, kept, strict=True)]
        of_runs = None if replicates is None else [of[keep].tolist() for of, keep in zip(labels, kept, strict=True)]
        return analyzed(seen, of_runs, paired, groups)

    if len(cells) == 1:  # nothing to compare with
        return Sequential((), judge(*analysis(have), margin, alpha).verdicts, _ints(have), "resolved")
    # Determined by the first look's seeds alone, so that later seeds cannot change earlier decisions.
    first = max(plan[0], 2)
    fixed = np.array(
        [_identical(scores[at < first], of[at < first]) for scores, of, at in zip(cells, labels, order, strict=True)]
    )
    ended = np.array(capped if capped is not None else [False] * len(cells), dtype=bool)
    alphas = spend(alpha, [each / plan[-1] for each in plan])
    looks: list[Look] = []
    verdicts: list[Verdict] = []
    used = np.zeros(len(cells), dtype=int)
    active = np.ones(len(cells), dtype=bool)
    state: State = "cap"
    for target, share in zip(plan, alphas, strict=True):
        wanted = np.where(active, np.maximum(used, target), used)
        # More seeds of a deterministic cell add no information, so no look waits for them.
        short = (have < wanted) & ~fixed & ~ended
        if short.any():
            verdicts = verdicts or _unresolved(judge(*analysis(have), margin, share, None, span))
            return Sequential(tuple(looks), tuple(verdicts), _ints(np.where(short, wanted, have)), "more")
        used = np.minimum(wanted, most)
        found, draws = analysis(used)
        comparison = judge(found, draws, margin, share, looks[-1].comparison if looks else None, span)
        looks.append(Look(_ints(used), share, comparison))
        before = verdicts or comparison.verdicts
        verdicts = [_standing(old, new) for old, new in zip(before, comparison.verdicts, strict=True)]
        open_cells = np.array([verdict.word == "unresolved" for verdict in verdicts])
        if not open_cells.any():
            return Sequential(tuple(looks), tuple(verdicts), _ints(have), "resolved")
        can_grow = ~fixed & ~(ended & (most <= used))
        if not (_contenders(comparison, open_cells, verdicts) & can_grow).any():
            break
        growth = np.where(can_grow, plan[-1] / np.maximum(used, 1), 1.0)
        chance = settled_by_seeds(pairs(found, draws), margin, alphas[-1], np.maximum(growth, 1.0))
        hopeful = open_cells & (chance >= FUTILE)
        active = _contenders(comparison, hopeful, verdicts) & can_grow
        if not active.any():
            state = "cap" if target == plan[-1] else "futile"
            break
    return Sequential(tuple(looks), tuple(verdicts), _ints(have), state)


def _standing(old: Verdict, new: Verdict) -> Verdict:
    """Return the new verdict, but keep a word that was reached; only "not worse" can still become "better"."""
    surer = old.word == "unresolved" or (old.word, new.word) == ("not worse", "better")
    return new if surer else replace(new, word=old.word)


def _contenders(comparison: Comparison, open_cells: np.ndarray, verdicts: Sequence[Verdict]) -> np.ndarray:
    """Return the unresolved cells, and the cells that could still be better than one of them by the margin or more."""
    found = open_cells.copy()
    for k in np.flatnonzero(open_cells):
        for other, difference in enumerate(comparison.differences[k]):
            if difference and verdicts[other].word != "worse" and difference.least <= -comparison.margin:
                found[other] = True
    return found


def _position(labels: np.ndarray) -> np.ndarray:
    """Return how many earlier runs of the same replicate each run has."""
    found = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        found[labels == label] = np.arange((labels == label).sum())
    return found


def _identical(scores: Scores, labels: np.ndarray) -> bool:
    """Return whether every replicate has several seeds, all with identical scores."""
    each = [scores[labels == label] for label in np.unique(labels)]
    return all(len(of) > 1 and bool((of == of[0]).all()) for of in each)


def _unresolved(comparison: Comparison) -> list[Verdict]:
    return [replace(verdict, word="unresolved") for verdict in comparison.verdicts]


def _ints(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(each) for each in values)
