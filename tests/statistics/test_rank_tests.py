"""Ranks across tasks, against scikit-posthocs and Demšar's worked example."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scikit_posthocs

from harness.errors import HarnessError
from harness.statistics.rank_tests import critical_difference, rank

# Demšar 2006, table 6: AUC of C4.5 with parameters m and cf on 14 data sets. Its ranks part two that print as 0.975.
DEMSAR = {
    "C4.5": (0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957),
    "C4.5+m": (0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978),
    "C4.5+cf": (0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.000, 0.965, 0.614, 0.9751, 0.946),
    "C4.5+m+cf": (0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.000, 0.962, 0.669, 0.975, 0.970),
}


def by_task(table: dict[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    return {method: {f"task {i}": value for i, value in enumerate(values)} for method, values in table.items()}


def test_worked_example() -> None:
    """Ranks and the critical difference are the paper's; its statistic, 9.28, lacks the correction for ties."""
    found = rank(by_task(DEMSAR))
    assert found.methods == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert found.mean_ranks == pytest.approx((1.964, 2.000, 2.893, 3.143), abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert found.chi_square == pytest.approx(10.228, abs=1e-3)
    assert found.f == pytest.approx(13 * 10.228 / (14 * 3 - 10.228), abs=1e-3)


def test_critical_difference_equals_posthocs() -> None:
    """At the level that scikit-posthocs gives a pair, the critical difference is that pair's difference."""
    scores = np.random.default_rng(1).normal(size=(9, 6))
    found = rank({f"m{j}": {f"t{i}": scores[i, j] for i in range(9)} for j in range(6)})
    ranks = dict(zip(found.methods, found.mean_ranks, strict=True))
    p = scikit_posthocs.posthoc_nemenyi_friedman(-scores).to_numpy()
    for one in range(6):
        for other in range(one):
            difference = abs(ranks[f"m{one}"] - ranks[f"m{other}"])
            if difference and p[one, other] < 0.9999:
                assert critical_difference(6, 9, p[one, other]) == pytest.approx(difference, rel=1e-4)


def test_the_p_value_holds_for_few_tasks() -> None:
    """Three equal methods on three tasks, where the F approximation rejects in 21 % of studies."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(120):
        scores = random.normal(size=(3, 3))
        found.append(rank({f"m{j}": {f"t{i}": scores[i, j] for i in range(3)} for j in range(3)}))
    assert np.mean([each.p < 0.05 for each in found]) <= 0.08
    assert np.mean([(each.f_p or 0.0) < 0.05 for each in found]) > 0.12
    assert rank(by_task(DEMSAR)).p == pytest.approx(0.012, abs=0.006)


def test_groups_are_the_largest_runs() -> None:
    """Neighbours within the difference share a bar; no bar lies within another."""
    random = np.random.default_rng(0)
    means = np.array([0.9, 0.89, 0.8, 0.5, 0.49])
    found = rank({f"m{j}": {f"t{i}": means[j] + random.normal(0, 0.02) for i in range(30)} for j in range(5)})
    assert [set(group) for group in found.groups] == [{"m0", "m1"}, {"m3", "m4"}]


def test_methods_without_all_tasks_are_named() -> None:
    """They do not enter, and with too little left that is an error that names them."""
    scores = by_task(DEMSAR)
    del scores["C4.5"]["task 3"]
    found = rank(scores)
    assert found.left_out == ("C4.5",)
    assert len(found.methods) == 3
    with pytest.raises(HarnessError, match="without: b"):
        rank({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 1.0}})


def test_edge_cases() -> None:
    """Two methods have no Friedman test; whole agreement claims no p of 0; only ties claim nothing."""
    two = rank({"a": {"x": 2.0, "y": 2.0}, "b": {"x": 1.0, "y": 1.0}})
    assert two.chi_square is None
    assert two.critical_difference > 1
    agreed = rank({f"m{j}": {"x": j, "y": j} for j in range(3)})
    assert agreed.f == math.inf
    assert agreed.f_p == agreed.chi_square_p == pytest.approx(0.135, abs=1e-3)
    tied = rank({f"m{j}": {"x": 1.0, "y": 1.0} for j in range(3)})
    assert tied.f_p == 1.0
    assert tied.mean_ranks == (2.0, 2.0, 2.0)
