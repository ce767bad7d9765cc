"""Methods across tasks by rank: Friedman's test and Nemenyi's critical difference.

Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 7), section 3.2.2. Ranks need no
common scale, so tasks with different metrics may be ranked together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over tasks.

    Attributes:
        methods: methods with a score on every task, best mean rank first.
        mean_ranks: their mean ranks; 1 is best, ties share the mean of their ranks.
        tasks: the tasks.
        left_out: methods without a score on some task.
        chi_square, chi_square_p: Friedman's test, corrected for ties; None for two methods, for which it is not
            designed.
        p: p value of Friedman's statistic by permutation within the tasks, right for any number of tasks and methods.
            The approximations are for many: of 3 tasks and 3 methods that are equal, `f_p` lies below 0.05 in 21 %.
        f, f_p: Iman and Davenport's correction of it. If all tasks agree completely, f is infinite and its p value of 0
            would claim too much: `f_p` is then `chi_square_p`.
        alpha: level of the critical difference.
        critical_difference: mean ranks further apart than this differ at level alpha, simultaneously over all pairs
            (Nemenyi).
        groups: methods that cannot be distinguished: each maximal run of two or more methods, adjacent in rank, within
            the critical difference.
    """

    methods: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    chi_square: float | None
    chi_square_p: float | None
    f: float | None
    f_p: float | None
    p: float
    alpha: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]


PERMUTATIONS = 9999


def rank(scores: Mapping[str, Mapping[str, float]], alpha: float = 0.05) -> Ranking:
    """Rank methods over tasks.

    Args:
        scores: score by method and task; within a task higher is better. A task counts if any method has it.
        alpha: level of the critical difference, above 0 and below 1.

    Raises:
        HarnessError: fewer than two methods have every task, or there are fewer than two tasks.
    """
    from scipy import stats

    tasks = tuple(dict.fromkeys(task for values in scores.values() for task in values))
    entering = [method for method, values in scores.items() if all(task in values for task in tasks)]
    left_out = tuple(method for method in scores if method not in entering)
    if len(tasks) < 2 or len(entering) < 2:
        raise HarnessError(
            f"Ranks need two tasks and two methods that have all of them; here are {len(tasks)} and {len(entering)}"
            f"{' (without: ' + ', '.join(left_out) + ')' if left_out else ''}. Run the missing cells, or compare fewer "
            "tasks."
        )
    table = np.array([[scores[method][task] for method in entering] for task in tasks])
    mean_ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    order = np.argsort(mean_ranks, kind="stable")
    names = tuple(entering[index] for index in order)
    ranked = [float(mean_ranks[index]) for index in order]
    difference = critical_difference(len(names), len(tasks), alpha)
    return Ranking(
        names, tuple(ranked), tasks, left_out, *_friedman(table), _permutation_p(table), alpha, difference,
        tuple(names[start:end] for start, end in _runs(ranked, difference)),
    )  # fmt: skip


def critical_difference(methods: int, tasks: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks (Demšar 2006, section 3.2.2).

    The quantile is that of the studentized range with infinite degrees of freedom, divided by the square root of 2.
    """
    from scipy import stats

    quantile = float(stats.studentized_range.isf(alpha, methods, math.inf))
    return quantile / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * tasks))


def _friedman(table: np.ndarray) -> tuple[float | None, float | None, float | None, float | None]:
    from scipy import stats

    tasks, methods = table.shape
    if methods < 3:
        return None, None, None, None
    if (table == table[:, :1]).all():  # all methods tie on every task: the statistic would be 0/0
        return 0.0, 1.0, 0.0, 1.0
    chi_square, p = map(float, stats.friedmanchisquare(*table.T))
    rest = tasks * (methods - 1) - chi_square
    if rest <= 1e-9 * tasks * (methods - 1):
        return chi_square, p, math.inf, p
    f = (tasks - 1) * chi_square / rest
    return chi_square, p, f, float(stats.f.sf(f, methods - 1, (methods - 1) * (tasks - 1)))


def _permutation_p(table: np.ndarray, seed: int = 0) -> float:
    """Return the p value of Friedman's statistic when every order of the methods within a task is as likely."""
    from scipy import stats

    ranks = stats.rankdata(table, axis=1)
    # Of permutations within tasks, the statistic changes with the sum of the squared rank sums only.
    observed = np.square(ranks.sum(axis=0)).sum()
    random = np.random.default_rng(seed)
    sums = np.zeros((PERMUTATIONS, ranks.shape[1]))
    for row in ranks:
        sums += random.permuted(np.tile(row, (PERMUTATIONS, 1)), axis=1)
    as_large = int((np.square(sums).sum(axis=1) >= observed - 1e-9).sum())
    return (as_large + 1) / (PERMUTATIONS + 1)


def _runs(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the maximal runs [start, end) of ascending ranks that span at most the difference, none nested."""
    runs: list[tuple[int, int]] = []
    for start, rank in enumerate(ranks):
        end = sum(other <= rank + difference for other in ranks)
        if end - start > 1 and (not runs or end > runs[-1][1]):
            runs.append((start, end))
    return runs
