"""What a run costs in dollars, by the hourly price of the machine that it held a part of."""

from __future__ import annotations


def dollars(
    accelerator_seconds: float | None,
    core_seconds: float | None,
    dollars_per_hour: float | None,
    cores: float | None,
) -> float | None:
    """Price a run; None where a figure that it takes is not known.

    Args:
        accelerator_seconds: of the run; None on a CPU.
        core_seconds: seconds times the cores that the run held.
        dollars_per_hour: of one accelerator with its share of the machine, or of the whole machine without one.
        cores: of the machine; a run on a CPU pays for its part of them.
    """
    if dollars_per_hour is None:
        return None
    if accelerator_seconds is not None:
        return accelerator_seconds / 3600 * dollars_per_hour
    if core_seconds is None or not cores:
        return None
    return core_seconds / cores / 3600 * dollars_per_hour
