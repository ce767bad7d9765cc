"""The largest number of tokens in one shared pass that fits into memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from harness.system.resources import memory_groups

SHARE = 0.4  # of the free memory: the sessions' own batches need some, too


def most_tokens(settings: Any, device: torch.device, precision: str, longest: int, writes: bool = False) -> float:
    """Estimate the largest number of tokens in a pass, from the activations per token that are kept for backward.

    Args:
        settings: the backbone's configuration.
        device: where the backbone computes.
        precision: fp32 | bf16.
        longest: tokens of the longest row.
        writes: whether the model predicts tokens, so that each may have logits of the whole vocabulary.
    """
    # Inputs, projections, attention output, residual sums, norms and dropout factors; and three tensors of the
    # feed-forward.
    inner = getattr(settings, "intermediate_size", None) or getattr(settings, "hidden_dim", 4 * settings.hidden_size)
    kept = 20 * int(settings.hidden_size) + 3 * int(inner)
    # Attention weights before and after dropout, and its factors: with dropout, no fused kernel avoids storing them.
    kept += 3 * int(settings.num_attention_heads) * longest
    bytes_each = int(settings.num_hidden_layers) * kept * (2 if precision == "bf16" else 4)
    if writes:
        bytes_each += 3 * 4 * int(settings.vocab_size)  # float32 logits, their softmax and their gradient
    return SHARE * free_bytes(device) / bytes_each


def free_bytes(device: torch.device) -> float:
    """Return the memory in bytes that can be allocated now; infinity if unknown."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # cached by PyTorch, reusable
        return float(torch.cuda.mem_get_info(device)[0] + cached)
    found = [float("inf")]
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    found += [limit - used for limit, used in memory_groups()]
    return min(found)
