"""Price of compute time, from the `hardware` section. Prices change, so records hold seconds only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dollars(cost: Mapping[str, Any], hardware: Mapping[str, Any] | None) -> float | None:
    """Return the dollars that one run costs.

    A run on a GPU pays for its share of the GPU's time, a run on CPU for its threads' share of the machine's time.

    Args:
        cost: `cost` of a record: `accelerator_seconds`, or `core_seconds` if that is null.
        hardware: the price (`dollars_per_hour`), `gpu_name` and `cores`; None if unknown.

    Returns:
        None if unknown: no price, no seconds, or a CPU run with the price of a GPU.
    """
    if hardware is None or hardware.get("dollars_per_hour") is None:
        return None
    price = float(hardware["dollars_per_hour"]) / 3600
    if cost.get("accelerator_seconds") is not None:
        return float(cost["accelerator_seconds"]) * price
    if price == 0.0:
        return 0.0
    if cost.get("core_seconds") is None or hardware.get("gpu_name") or not hardware.get("cores"):
        return None
    return float(cost["core_seconds"]) * price / float(hardware["cores"])
