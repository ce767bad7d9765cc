"""Members that share passes end as each of them does alone."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from harness.training.fused import FusedGroup, fused_groups
from harness.training.loop import fit
from tests.helpers.training_sessions import Setting, distance, make, pretrained

# Ranks 4 to 32, rates 1e-4 to 3e-3, orders by seed, lengths of texts and of trainings; dropout is the methods' own.
MIXED = [
    Setting("lora", {"r": 4}, {"lr": 3e-3}, seed=1),
    Setting("lora", {"r": 32}, {"lr": 1e-4, "schedule": "cosine", "weight_decay": 0.1}, seed=2, longest=30),
    Setting("rslora", {"r": 16}, {"lr": 1e-3, "batch_size": 8, "epochs": 20}, seed=3),
    Setting("lora", {"r": 8}, {"lr": 1e-3, "warmup": 0.3, "clip": 0.0}, seed=4, prune_at=50),
    Setting("lora_plus", {"r": 8}, {"lr": 2e-4, "label_smoothing": 0.1}, seed=5),
    Setting("lora_fa", {"r": 16}, {"lr": 2e-3, "patience": 1, "epochs": 10}, seed=6),
    Setting("lora", {"r": 8, "lora_dropout": 0.0}, {"lr": 1e-3, "dropout": 0.0, "ema": 0.9}, seed=7),
    Setting("lora_all_linear", {"r": 4}, {"lr": 5e-4, "epochs": 5}, seed=8),
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_mixed_batch_equals_solo_runs() -> None:
    """Eight members over 100 steps, one pruned midway, one stopped early, in float64: the same losses and weights."""
    backbone = pretrained()
    together = [make(setting, backbone) for setting in MIXED]
    fit(together, sharing="always")
    for setting, session in zip(MIXED, together, strict=True):
        alone = make(setting, backbone)
        fit([alone])
        assert session.largest_group == len(MIXED) and alone.largest_group == 1
        assert session.failure is None and session.status == alone.status
        assert session.progress.step == alone.progress.step
        assert session.progress.train_loss == pytest.approx(alone.progress.train_loss, abs=1e-9)
        assert distance(session, alone) < 1e-9
        assert torch.equal(session.random_state.tensors["cpu"], alone.random_state.tensors["cpu"])
    assert together[3].status == "pruned" and together[3].progress.step == 50
    assert together[5].progress.epoch < 10


@pytest.mark.parametrize(
    ("architecture", "method"),
    [
        *itertools.product(("bert-base", "llama-3.2-1b"), ("lora", "dora", "ia3", "vera", "ln_tuning")),
        ("bert-base", "bitfit"),  # Llama has no biases
        *itertools.product(
            ("roberta-base", "electra-base", "distilbert", "qwen3-0.6b", "gpt2", "gemma-3-270m"), ("lora", "ia3")
        ),
    ],
)
def test_every_family_batches_with_lora(architecture: str, method: str) -> None:
    """Two members of a method and one of LoRA share passes, on each architecture that packs, and end as alone."""
    settings = [Setting(method, seed=1), Setting("lora", seed=2), Setting(method, seed=3)]
    settings = [replace(setting, train={"epochs": 1, "accumulate": 1 + n}) for n, setting in enumerate(settings)]
    backbone = pretrained(architecture)
    together = [make(setting, backbone) for setting in settings]
    (fused,) = fused_groups(together)
    assert isinstance(fused, FusedGroup) and len(fused.sessions) == 3
    fit(together, sharing="always")
    for setting, session in zip(settings, together, strict=True):
        alone = make(setting, backbone)
        fit([alone])
        assert session.failure is None and session.largest_group == 3
        assert distance(session, alone) < 1e-9


def test_under_bf16_fused_losses_are_those_of_solo_runs() -> None:
    """Autocast reaches the packed layers, too: losses agree to what bfloat16 can tell, and weights stay float32."""
    backbone = pretrained(dtype=torch.float32)
    train = {"precision": "bf16", "epochs": 4}
    settings = [Setting("lora", train=train, seed=1), Setting("ia3", train=train, seed=2)]
    together, alone = ([make(setting, backbone) for setting in settings] for _ in range(2))
    fit(together, sharing="always")
    fit(alone)
    for session, solo in zip(together, alone, strict=True):
        assert session.failure is None and session.largest_group == 2
        assert session.progress.train_loss == pytest.approx(solo.progress.train_loss, rel=1e-2)
        assert {p.dtype for p in session.parameters} == {torch.float32}
