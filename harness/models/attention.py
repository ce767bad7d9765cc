"""Attention where oneDNN computes float32 products (see `harness.machine.use_fast_products`).

PyTorch's fused kernel for CPUs asks for a small product a head and a block, and oneDNN takes some 20 microseconds to be
asked: on an AMD EPYC (Zen 5) attention among the 16 tokens of 64 rows takes 15 ms that way and 1 ms as plain products.
Those keep all weights, so long rows take the fused kernel, which saves more than it costs there.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT = 128  # tokens up to which plain products are faster

_plain = False  # in this process


def use_plain_products() -> None:
    """Let attention on this process's CPU compute short rows as plain products, in all models that ask for `sdpa`."""
    global _plain  # noqa: PLW0603 -- like the kernels of torch, it is a matter of the process
    from transformers import AttentionInterface

    _plain = True
    AttentionInterface.register("sdpa", _attend)


def kernel(query: Tensor) -> AbstractContextManager[Any]:
    """Within this block PyTorch's `scaled_dot_product_attention` takes the faster kernel for a query (..., T, size)."""
    if _plain and query.device.type == "cpu" and query.shape[-2] <= SHORT:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _attend(module: torch.nn.Module, query: Tensor, *arguments: Any, **options: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    with kernel(query):
        return sdpa_attention_forward(module, query, *arguments, **options)
