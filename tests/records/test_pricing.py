"""What runs cost by the hourly price of a machine."""

from __future__ import annotations

import pytest

from harness.records.pricing import dollars


@pytest.mark.parametrize(
    ("accelerator_seconds", "core_seconds", "dollars_per_hour", "cores", "expected"),
    [
        (1800.0, 9000.0, 4.0, 16.0, 2.0),  # half an hour of the accelerator; its cores are part of the price
        (None, 7200.0, 0.8, 8.0, 0.2),  # two hours of one of eight cores
        (None, 7200.0, 0.0, 8.0, 0.0),
        (0.0, 7200.0, 4.0, 8.0, 0.0),
        (None, 7200.0, 0.8, None, None),
        (None, 7200.0, 0.8, 0.0, None),
        (None, None, 0.8, 8.0, None),
        (1800.0, 7200.0, None, 8.0, None),
    ],
)
def test_a_run_pays_for_its_accelerator_or_for_its_part_of_the_cores(
    accelerator_seconds: float | None,
    core_seconds: float | None,
    dollars_per_hour: float | None,
    cores: float | None,
    expected: float | None,
) -> None:
    """What is not known is None, never nothing."""
    held = {"accelerator_seconds": accelerator_seconds, "core_seconds": core_seconds}
    price = dollars(held, {"dollars_per_hour": dollars_per_hour, "cores": cores})
    assert price == (None if expected is None else pytest.approx(expected))
