"""How the costs of a run's parts are joined."""

from __future__ import annotations

from harness.api.cost import parts
from harness.runs.costs import Costs


def test_the_table_says_how_parts_are_joined() -> None:
    """Seconds and counts add up, of fused runs the largest number counts, else the value of the last part."""
    first = Costs(train_seconds=1.5, steps=3, resumes=1, fused_runs=4, epochs=2, latency_p50_seconds=0.5)
    second = Costs(train_seconds=0.5, steps=4, resumes=0, fused_runs=2, epochs=3, latency_p50_seconds=0.25)
    assert first.merged(second) == {
        "train_seconds": 2.0, "steps": 7, "resumes": 1, "fused_runs": 4, "epochs": 3, "latency_p50_seconds": 0.25,
    }  # fmt: skip
    assert first["steps"] == 3
    assert [parts(name) for name in ("of_a_later_version_seconds", "of_a_later_version")] == ["sum", ""]
