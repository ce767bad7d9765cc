"""Numbers as people read them."""

from __future__ import annotations

import pytest

from harness import formatting


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("train_seconds", 24.0, "24 s"),
        ("latency_p50_seconds", 0.0134, "13.4 ms"),
        ("latency_p95_seconds", 1.5, "1.5 s"),
        ("saved_bytes", 708_400.0, "708 kB"),
        ("saved_bytes", 0.0, "0 B"),
        ("peak_memory_mb", 1600.0, "1.6 GiB"),
        ("energy_joules", 920.0, "920 J"),
        ("energy_joules", 9e6, "2.5 kWh"),
        ("dollars", 3.2, "$3.20"),
        ("tune_dollars", 0.0042, "$0.0042"),
        ("dollars", 3e-6, "<$0.0001"),
        ("dollars", 0.0, "$0.00"),
        ("throughput_per_second", 812.3, "812"),
        ("params_trainable", 177_101.0, "177 k"),
        ("train_seconds", None, ""),
    ],
)
def test_costs_carry_the_unit_that_their_name_tells(key: str, value: float | None, text: str) -> None:
    """Seconds, bytes, joules, dollars, counts; "" for what is not known."""
    assert formatting.cost(key, value) == text


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.009, "accuracy", "+0.9"),
        (-0.012, "accuracy", "\u22121.2"),
        (-0.0002, "accuracy", "0.0"),
        (0.05, "mcc", "+0.050"),
    ],
)
def test_differences_carry_their_sign(value: float, metric: str, text: str) -> None:
    """In points of a metric in percent; none is shown of what rounds to nothing."""
    assert formatting.signed(value, metric) == text
