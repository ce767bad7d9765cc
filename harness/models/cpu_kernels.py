"""Faster CPU attention where oneDNN computes float32 products (see `use_fast_products`).

PyTorch's fused attention kernel for CPUs calls oneDNN for a small product per head and block, and each call costs about
20 microseconds: on an AMD EPYC (Zen 5), attention over 64 rows of 16 tokens takes 15 ms with it and 1 ms as plain
matrix products. Plain products store all attention weights, so long rows use the fused kernel, whose savings outweigh
its cost there.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT = 128  # largest number of tokens at which plain products are faster

_plain = False  # set once per process


def use_plain_products() -> None:
    """Compute attention over short rows on the CPU as plain products, in all models of this process that use `sdpa`."""
    global _plain  # noqa: PLW0603 -- a setting of the process, like torch's kernels
    _plain = True
    if "transformers.modeling_utils" in sys.modules:  # if not, the first model that is loaded registers it
        register_attention()


def register_attention() -> None:
    """Let transformers' `sdpa` attention use plain products if `use_plain_products` was called.

    A process that loads no model of transformers is spared its import, which takes seconds.
    """
    if _plain:
        from transformers import AttentionInterface

        AttentionInterface.register("sdpa", _attend)


def kernel(query: Tensor) -> AbstractContextManager[Any]:
    """Within the block, `scaled_dot_product_attention` uses the faster kernel for a query (..., T, size)."""
    if _plain and query.device.type == "cpu" and query.shape[-2] <= SHORT:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _attend(module: torch.nn.Module, query: Tensor, *arguments: Any, **options: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    with kernel(query):
        return sdpa_attention_forward(module, query, *arguments, **options)


@cache
def use_fast_products() -> bool:
    """Use oneDNN for float32 matrix products on CPUs where MKL is slow; return whether it is now used.

    MKL reserves its best kernels for Intel's processors: on an AMD EPYC (Zen 5) its products run at 105 GFLOPS per
    core, oneDNN's at 230. Torch has no switch between the two; it uses oneDNN when products may be rounded to bfloat16,
    which oneDNN then does only on processors with AMX. So this function allows rounding on processors without AMX, and
    withdraws it if a test shows rounded products. Results differ from MKL's only in the order of summation. On a
    machine with a GPU nothing changes: the setting would apply to the GPU, too.
    """
    cpu = Path("/proc/cpuinfo")
    facts = cpu.read_text(encoding="utf-8") if cpu.is_file() else ""
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch gives it no types
    if not onednn or torch.cuda.is_available() or "AuthenticAMD" not in facts or "amx_" in facts:
        return False
    torch.set_float32_matmul_precision("medium")
    if _are_exact():
        use_plain_products()
        return True
    torch.set_float32_matmul_precision("highest")
    return False


def _are_exact() -> bool:
    """Return whether products have float32 precision; bfloat16's relative error is a thousand times as large."""
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((8, 64, 8), (64, 1024, 64), (512, 384, 512)):
        left, right = (torch.randn(size, generator=generator) for size in ((rows, inner), (inner, columns)))
        exact = left.double() @ right.double()
        if float((left @ right - exact).abs().max() / exact.abs().max()) > 1e-5:
            return False
    return True
