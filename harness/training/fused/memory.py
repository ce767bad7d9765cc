"""How many tokens one shared pass may have for the memory that there is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from harness.system.resources import memory_groups

SHARE = 0.4  # of the free memory: the members' own batches need some, too


def most_tokens(settings: Any, device: torch.device, precision: str, longest: int) -> float:
    """Tokens of a pass at most, by what a block keeps of each for the way back.

    Args:
        settings: of the backbone.
        device: where it computes.
        precision: fp32 | bf16.
        longest: tokens of the longest row.
    """
    # Inputs, projections, attention's output, sums, norms and dropout's factors; and the feed-forward's three.
    inner = getattr(settings, "intermediate_size", None) or getattr(settings, "hidden_dim", 4 * settings.hidden_size)
    kept = 20 * int(settings.hidden_size) + 3 * int(inner)
    # Attention's weights, what dropped out of them, and its factors: where it has dropout no fused kernel spares them.
    kept += 3 * int(settings.num_attention_heads) * longest
    bytes_each = int(settings.num_hidden_layers) * kept * (2 if precision == "bf16" else 4)
    return SHARE * free_bytes(device) / bytes_each


def free_bytes(device: torch.device) -> float:
    """Memory that could be taken now; without limit where that is not known."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own to give anew
        return float(torch.cuda.mem_get_info(device)[0] + cached)
    found = [float("inf")]
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    found += [limit - used for limit, used in memory_groups()]
    return min(found)
