"""Which of PyTorch's kernels attention takes on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from harness.models import cpu_kernels
from harness.models.cpu_kernels import SHORT, kernel
from harness.models.network import load_backbone
from tests.benchmarks.workload import minilm

FUSED = "aten::_scaled_dot_product_flash_attention_for_cpu"


@pytest.mark.parametrize("length", [5, SHORT, SHORT + 1])
def test_short_rows_are_plain_products_and_long_ones_are_not(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way the numbers are the same; where oneDNN does not compute the products, nothing is changed."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8, generator=generator) for _ in range(3))
    mask = torch.ones(2, 1, length, length, dtype=torch.bool)
    mask[1, :, :, length // 2 :] = False
    found, fused = {}, {}
    for plain in (True, False):
        monkeypatch.setattr(cpu_kernels, "_plain", plain)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen, kernel(query):
            found[plain] = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        fused[plain] = FUSED in {event.key for event in seen.key_averages()}
    assert fused == {True: length > SHORT, False: True}
    torch.testing.assert_close(found[True], found[False])


def test_models_take_it_once_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers finds it under the name of PyTorch's own."""
    from transformers import AttentionInterface

    backbone = load_backbone(minilm(), "mean", 0).eval()
    batch = {"input_ids": torch.tensor([[101, 2026, 4003, 102]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    known = dict(AttentionInterface._global_mapping)
    monkeypatch.setattr(AttentionInterface, "_global_mapping", known)
    monkeypatch.setattr(cpu_kernels, "_plain", False)
    states, fused = [], []
    for _ in range(2):
        with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            states.append(backbone(**batch).last_hidden_state)
        fused.append(FUSED in {event.key for event in seen.key_averages()})
        cpu_kernels.use_plain_products()
    assert fused == [True, False]
    torch.testing.assert_close(*states)
