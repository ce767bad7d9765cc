"""Dropout masks from lanes: rate, independence, and the same masks however a session is computed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.records.states import StopRequest
from harness.training.loop import fit
from harness.training.masks import LEVELS, MaskStream, fill
from harness.training.session import TrainingSession
from tests.helpers.training_sessions import Setting, distance, make, pretrained

COUNT = 2**20
Mask = np.ndarray[Any, np.dtype[np.float64]]


def mask(seed: int = 1, step: int = 0, part: int = 0, draw: int = 0, p: float = 0.1) -> Mask:
    """1 where a value is kept: the mask of the `draw`-th layer of a batch."""
    stream = MaskStream(seed)
    stream.begin(step, part)
    for _ in range(draw):
        stream.kept(COUNT, p)
    return stream.kept(COUNT, p).astype(float)


def z_of_rate(values: Mask, p: float) -> float:
    """Standard deviations between the share that is kept and 1 - p."""
    return float((values.mean() - (1 - p)) / math.sqrt(p * (1 - p) / values.size))


def correlation(one: Mask, other: Mask) -> float:
    """In standard deviations: of independent masks it is normal, with deviation 1."""
    return float(np.corrcoef(one, other)[0, 1] * math.sqrt(one.size))


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_the_rate_is_that_of_the_rounded_probability(p: float) -> None:
    """Within five standard deviations in a million values; a rate that is wrong by 0.3 points would be outside."""
    rounded = round(p * LEVELS) / LEVELS
    values = mask(p=p)
    assert abs(rounded - p) <= 0.5 / LEVELS and abs(z_of_rate(values, rounded)) < 5
    assert abs(z_of_rate(values, rounded + 0.003)) > 5
    # The same in parts: neither lanes nor places of a row have a rate of their own.
    chi = sum(z_of_rate(part, rounded) ** 2 for part in values.reshape(-1, 256).T)
    assert abs(chi - 256) < 5 * math.sqrt(2 * 256)


def test_masks_are_independent_of_each_other() -> None:
    """Of layers, batches, steps and members; of neighbors within a mask; and a test that sees dependence."""
    first = mask()
    others = [mask(draw=1), mask(part=1), mask(step=1), mask(seed=2), mask(seed=2, step=1), np.roll(first, 1)]
    others += [np.roll(first, shift) for shift in (2, 3, 4, 384, 2**17)]
    assert max(abs(correlation(first, other)) for other in others) < 5
    assert not any(np.array_equal(first, other) for other in others)
    mixed = np.where(np.arange(COUNT) % 100 == 0, first, others[0])  # one value in a hundred is the same
    assert correlation(first, mixed) > 5


def test_runs_of_kept_values_are_as_long_as_chance_makes_them() -> None:
    """Runs are geometric: a mask with the right rate and a pattern fails."""
    values = mask(p=0.5)
    lengths = np.diff(np.flatnonzero(np.diff(values))).astype(int)
    expected = len(lengths) * 0.5 ** np.arange(1, 11)
    found = np.bincount(lengths, minlength=11)[1:11]
    assert ((found - expected) ** 2 / expected).sum() < 35  # chi-squared with 10 degrees: p < 1e-4 beyond
    period = np.tile(mask(p=0.5)[:16], COUNT // 16)
    lengths = np.diff(np.flatnonzero(np.diff(period))).astype(int)
    found = np.bincount(lengths, minlength=11)[1:11]
    assert ((found - expected) ** 2 / expected).sum() > 35


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.0, 1e-7, 0.1, 1.0])
def test_factors_keep_the_expectation(dtype: torch.dtype, p: float) -> None:
    """Two values: 0, and 1 / (1 - p) of the rounded p, in every type."""
    kept = np.array([[True, False], [True, True]])
    factors = fill(torch.full((2, 2), torch.nan, dtype=dtype), kept, p)
    rounded = round(p * LEVELS) / LEVELS
    factor = torch.tensor(1 / (1 - rounded) if rounded < 1 else 0.0, dtype=dtype)
    assert torch.equal(factors, torch.from_numpy(kept).to(dtype) * factor)


def test_dropout_of_modules_and_functions_is_replaced() -> None:
    """Forward and backward by one mask; in evaluation, at 0 and outside the block nothing changes."""
    stream, ones = MaskStream(3), torch.ones(64, 48, requires_grad=True)
    with stream.drawing(5, 0):
        found = torch.nn.Dropout(0.25)(ones)
        again = functional.dropout(ones, 0.25)
        assert torch.equal(torch.nn.Dropout(0.25).eval()(ones), ones) and functional.dropout(ones, 0.0) is not None
    (gradient,) = torch.autograd.grad(found.sum(), ones)
    assert torch.equal(gradient, found) and not torch.equal(found, again)
    assert {round(value, 4) for value in found.unique().tolist()} == {0.0, 1.3333}
    stream.begin(5, 0)
    assert torch.equal(found.detach() > 0, torch.from_numpy(stream.kept(ones.numel(), 0.25).reshape(64, 48)))
    before = torch.get_rng_state()
    with stream.drawing(5, 0):
        assert torch.equal(functional.dropout(ones, 0.25), found)
        spoilt = torch.ones(64, 48)
        functional.dropout(spoilt, 0.25, inplace=True)
        assert set(spoilt.unique().tolist()) == set(found.unique().tolist())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "float", "grouped"])
def test_attention_with_dropout_is_that_of_pytorch(kind: str) -> None:
    """Its mean over masks is what PyTorch computes without dropout; the weights before dropout are equal."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 5, 8, dtype=torch.float64) for _ in range(3))
    options: dict[str, Any] = {}
    if kind == "causal":
        options["is_causal"] = True
    elif kind in ("bool", "float"):
        seen = torch.rand(2, 1, 5, 5) > 0.4
        seen[..., 0] = True
        options["attn_mask"] = seen if kind == "bool" else torch.where(seen, 0.0, -1e9).double()
    elif kind == "grouped":
        key, value, options["enable_gqa"] = key[:, :2], value[:, :2], True
    plain = functional.scaled_dot_product_attention(query, key, value, **options)
    stream, tiny = MaskStream(0), 1e-9  # rounds to 0, so nothing is dropped
    with stream.drawing(0, 0):
        same = functional.scaled_dot_product_attention(query, key, value, dropout_p=tiny, **options)
        drawn = [functional.scaled_dot_product_attention(query, key, value, dropout_p=0.3, **options)
                 for _ in range(2000)]  # fmt: skip
    assert torch.allclose(same, plain, atol=1e-12)
    mean, spread = torch.stack(drawn).mean(dim=0), torch.stack(drawn).std(dim=0) / math.sqrt(2000)
    assert float(((mean - plain) / spread.clamp(min=1e-12)).abs().max()) < 5.5


def test_a_resumed_session_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    """Also in the middle of an epoch, with accumulated batches, and on two threads."""
    setting = Setting("lora", train={"epochs": 2, "accumulate": 2}, seed=4)
    backbone = pretrained()

    def session(setting: Setting = setting) -> TrainingSession:
        made = make(setting, backbone)
        made.checkpoint_path = tmp_path / "checkpoint.safetensors"
        return made

    whole, native, before = make(setting, backbone), session(), session()
    fit([whole])
    before.stop = lambda: StopRequest.CHECKPOINT if before.progress.step == 3 else None
    fit([before])
    assert before.status == "stopped" and before.progress.step == 3
    after = session()
    torch.set_num_threads(2)
    try:
        fit([after])
    finally:
        torch.set_num_threads(1)
    assert after.progress.resumes == 1 and distance(after, whole) < 1e-12
    native = make(replace(setting, train=setting.train | {"dropout_masks": "native"}), backbone)
    fit([native])
    assert native.masks is None and distance(native, whole) > 1e-6
