"""Methods across data sets: probabilities against the leader, one block a data set."""

from __future__ import annotations

import pytest

from harness.report.analysis.across import across
from harness.report.analysis.verdicts import evidence
from harness.report.cells.cell_summary import rows
from harness.report.cells.settings import Settings
from harness.report.reading.study import load
from tests.report.conftest import Builder, asked


def write(study: Builder, tasks: int, draws: int = 1) -> None:
    """Write three methods on tasks, in draws of their rows: the first leads by 5 points, the others are alike."""
    cells = {
        f"task{task}.minilm.{method}.draw={draw}": (level, draw)
        for task in range(tasks)
        for draw in range(draws)
        for method, level in (("best", 0.9), ("second", 0.85), ("third", 0.851))
    }
    study.sweep([asked(cell, variant={"task.draw": draw}) for cell, (_, draw) in cells.items()], confirm={"seeds": 2})
    for cell, (level, draw) in cells.items():
        for seed in (1, 2):
            metrics = {"val": {}, "test": {"accuracy": level - 0.1 * int(cell[4]) + 0.001 * seed}}
            data, variant = {"fingerprint": cell.split(".")[0] + str(draw)}, {"task.draw": draw}
            study.run(
                cell, f"c{seed}", phase="confirm", seed=seed, metrics=metrics, data=data, variant=variant
            )  # fmt: skip


def test_the_leader_is_better_in_practice(study: Builder) -> None:
    """Over six data sets five points are more than the margin; every run of the others loses to the leader's."""
    write(study, tasks=6)
    loaded = load(study.directory)
    (found,) = across(evidence(loaded, rows(loaded), Settings()))
    assert "over 6 data sets" in found.sentence
    assert [line.name.split()[0] for line in found.lines] == ["best", "third", "second"]
    leader, other, _ = found.lines
    assert (leader.worse, leader.wins) == ("", "")
    assert (other.worse, other.wins) == (">99 %", "0 % (0 to 0)")


@pytest.mark.parametrize("tasks", [1, 2])
def test_draws_are_no_data_sets(study: Builder, tasks: int) -> None:
    """Three draws of one task are one data set, of which nothing is said across data sets."""
    write(study, tasks=tasks, draws=3)
    loaded = load(study.directory)
    found = across(evidence(loaded, rows(loaded), Settings()))
    assert len(found) == tasks - 1
    assert tasks == 1 or "over 2 data sets" in found[0].sentence
