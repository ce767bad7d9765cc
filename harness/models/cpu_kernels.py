"""Attention where oneDNN computes float32 products (see `harness.models.cpu_kernels.use_fast_products`).

PyTorch's fused kernel for CPUs asks for a small product a head and a block, and oneDNN takes some 20 microseconds to be
asked: on an AMD EPYC (Zen 5) attention among the 16 tokens of 64 rows takes 15 ms that way and 1 ms as plain products.
Those keep all weights, so long rows take the fused kernel, which saves more than it costs there.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
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


@cache
def use_fast_products() -> bool:
    """Let oneDNN compute float32 matrix products on CPUs that MKL treats as slow ones; whether it does now.

    MKL keeps its best kernels for Intel's own processors: on an AMD EPYC (Zen 5) its products run at 105 GFLOPS a core,
    oneDNN's at 230. Torch has no switch between the two; it asks oneDNN where a product may be rounded to bfloat16,
    which oneDNN then does only on processors with AMX. So the permission is given where that cannot be, and taken back
    if a trial shows that anything was rounded. Products differ from MKL's in the order of their sums alone. With a GPU
    in the machine it stays as it was: the permission would reach that, too.
    """
    import torch

    pass

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
    """Whether products keep float32's precision; bfloat16's relative error is a thousand times as large."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((8, 64, 8), (64, 1024, 64), (512, 384, 512)):
        left, right = (torch.randn(size, generator=generator) for size in ((rows, inner), (inner, columns)))
        exact = left.double() @ right.double()
        if float((left @ right - exact).abs().max() / exact.abs().max()) > 1e-5:
            return False
    return True
