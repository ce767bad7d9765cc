"""Under bf16, frozen weights are cast once, and every number is that of autocast."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.models import inference
from harness.models.inference import autocast
from harness.models.precision import cast_weights
from harness.training.loop import fit, predict
from harness.training.session import TrainingSession
from tests.helpers.training_sessions import CPU, Setting, distance, make, pretrained

METHODS = "lora", "dora", "ia3", "bitfit", "full", "last_layers", "houlsby", "gradual_unfreezing"


def trained(method: str, architecture: str, together: int = 1) -> list[TrainingSession]:
    backbone = pretrained(architecture, torch.float32)
    train = {"precision": "bf16", "epochs": 3, "batch_size": 8}
    sessions = [make(Setting(method, train=train, seed=seed), backbone) for seed in range(together)]
    fit(sessions, sharing="always" if together > 1 else None)
    assert not any(session.failure for session in sessions)
    return sessions


@pytest.mark.parametrize("method", METHODS)
def test_training_is_that_of_autocast(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, losses and predictions are equal bit for bit; trained weights, moments and scores stay float32."""
    (kept,) = trained(method, "bert-base")
    assert {p.dtype for p in kept.network.parameters()} == {torch.float32}
    state = kept.optimizer.state_dict()["state"].values()
    assert {t.dtype for each in state for t in each.values()} == {torch.float32}
    monkeypatch.setattr(inference, "KeptCasts", _Nothing)
    (plain,) = trained(method, "bert-base")
    assert distance(kept, plain) == 0 and kept.progress.train_loss == plain.progress.train_loss
    assert kept.validation is not None
    found = [predict(each.network, each.task, kept.validation, each.config, CPU) for each in (kept, plain)]
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("architecture", ["gpt2", "llama-3.2-1b"])
def test_shared_passes_are_those_of_autocast(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conv1D of GPT-2, too."""
    kept = trained("lora", architecture, together=2)
    monkeypatch.setattr(inference, "KeptCasts", _Nothing)
    for one, other in zip(kept, trained("lora", architecture, together=2), strict=True):
        assert one.largest_group == 2 and distance(one, other) == 0


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> None: ...


def test_a_cast_is_made_once_and_follows_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that share a weight share its cast; a weight that changes is cast anew; casts go with their weights."""
    layer, other, inputs = nn.Linear(64, 32), nn.Linear(64, 32), torch.randn(4, 64)
    layer.requires_grad_(False)
    other.requires_grad_(False)
    other.weight.data = layer.weight.data
    gc.collect()  # casts of other tests go with their weights
    before = len(cast_weights._casts)

    def computed(module: nn.Module) -> torch.Tensor:
        with autocast(CPU, "bf16"):
            found: torch.Tensor = module(inputs)
        return found

    def seen(module: nn.Linear) -> torch.Tensor:
        return next(iter(cast_weights._casts[module.weight.untyped_storage()].values()))

    first = computed(layer)
    assert first.dtype == torch.bfloat16 and len(cast_weights._casts) == before + 2
    cast = seen(layer)
    computed(other)
    assert seen(other) is cast and computed(layer).equal(first) and seen(layer) is cast
    layer.weight.mul_(2)
    assert computed(layer).equal(_autocast(layer, inputs)) and not seen(layer).equal(cast)
    layer.requires_grad_(True)
    layer.weight.grad = None
    computed(layer).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
    with autocast(CPU, "fp32"):
        assert layer(inputs).dtype == torch.float32
    with autocast(CPU, "bf16"), torch.autocast("cpu", enabled=False):  # as the head is computed
        assert other(inputs).dtype == torch.float32
    del layer, other
    gc.collect()
    assert len(cast_weights._casts) == before


def _autocast(layer: nn.Module, inputs: torch.Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return layer(inputs)


def test_functions_that_are_covered_exist() -> None:
    """A rename in PyTorch would switch the casts off in silence."""
    assert {functional.linear, functional.conv2d, torch.addmm} == set(cast_weights._PLACES)
