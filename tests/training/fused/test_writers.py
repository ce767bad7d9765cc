"""Sessions on one decoder that writes texts: those that share passes end as each does alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from harness.api.family import families
from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.models import PretrainedModel
from harness.models.architectures import FIRST_POSITION
from harness.models.language.language_model import LanguageModel
from harness.tasks.text_generation.data import Conversation, Writing, split_of
from harness.tasks.text_generation.encoding import RowEncoder
from harness.tasks.text_generation.examples import SequenceExamples
from harness.tasks.text_generation.metrics import METRICS
from harness.tasks.text_generation.runtime import TextGenerationRuntime
from harness.training.fused import FusedGroup, fused_groups, share
from harness.training.loop import fit
from harness.training.session import TrainingSession
from tests.helpers import tiny_writers
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_writers import DECODERS, WORDS
from tests.helpers.training_sessions import CPU, Setting, distance

RUNTIME = TextGenerationRuntime(Writing(), "loss", prompted=False)
NAMED = PretrainedModel(name="tiny", path=".").for_family(families()["text_generation"])
# Ranks, rates, batches and accumulation differ; one is pruned, one stopped early.
MIXED = [
    Setting("lora", {"r": 4, "lora_dropout": 0.1}, {"lr": 3e-3}, seed=1),
    Setting("ia3", {}, {"lr": 1e-2, "batch_size": 2, "accumulate": 3}, seed=2, longest=9),
    Setting(
        "lora", {"r": 16}, {"lr": 1e-3, "batch_size": 3, "accumulate": 2, "ema": 0.9, "label_smoothing": 0.2}, seed=3
    ),
    Setting("rslora", {"r": 8}, {"lr": 1e-3}, seed=4, prune_at=7),
    Setting("lora_all_linear", {"r": 4}, {"lr": 0.1, "patience": 1, "epochs": 5, "clip": 0.0}, seed=5),
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@cache
def tokenizer() -> Any:
    """Its training draws no random numbers."""
    return tiny_writers.tokenizer()


@cache
def pretrained(kind: str = "llama", dtype: torch.dtype = torch.float64) -> Any:
    """A tiny decoder; its tensors are shared."""
    return tiny_writers.of_architecture(kind, tokenizer(), dtype)


def rows(seed: int, count: int, longest: int) -> SequenceExamples:
    """Prompts and completions of unequal lengths, so that batches differ in their numbers of trained tokens."""
    draw = np.random.default_rng(seed)
    made = [
        Conversation(" ".join(draw.choice(WORDS, draw.integers(1, 4))), " " + " ".join(draw.choice(WORDS, number)))
        for number in draw.integers(1, longest, count)
    ]
    split = split_of("train", made, [(row.completion,) for row in made], range(count))
    encoder = RowEncoder(tokenizer(), False, Writing(), 200)
    return SequenceExamples(
        encoder.encode(split), split.targets, tokenizer().pad_token_id, encoder=encoder, split=split
    )


def make(setting: Setting, backbone: Any) -> TrainingSession:
    """Make a session as a run does: a copy of the backbone, adapted, its frozen tensors shared."""
    node = yaml.safe_load((ROOT / "conf/method" / f"{setting.method}.yaml").read_text(encoding="utf-8"))["method"]
    node = node | {"config": node["config"] | setting.adapter}
    config = replace(TrainConfig(epochs=2, batch_size=4), **setting.train)
    network = LanguageModel(copy.deepcopy(backbone))
    torch.manual_seed(setting.seed)
    hooks = build(node).adapt(network, NAMED, 100)
    session = TrainingSession(
        network=network.to(next(backbone.parameters()).dtype), task=RUNTIME, hooks=hooks, config=config,
        train=rows(setting.seed, 22, setting.longest), validation=rows(99, 6, 5), metric=METRICS["loss"],
        seed=setting.seed, device=CPU, say=lambda line: None,
    )  # fmt: skip
    if setting.prune_at is not None:
        session.stop = lambda: "prune" if session.progress.step == setting.prune_at else None
    share(session, backbone)
    return session


def assert_equal(together: Sequence[TrainingSession], settings: Sequence[Setting], backbone: Any) -> None:
    """Losses, weights, steps and random streams are those of each session alone."""
    for setting, session in zip(settings, together, strict=True):
        alone = make(setting, backbone)
        fit([alone])
        assert session.failure is None and session.status == alone.status
        assert session.largest_group == len(settings) and alone.largest_group == 1
        assert session.progress.step == alone.progress.step
        assert session.progress.train_loss == pytest.approx(alone.progress.train_loss, abs=1e-9)
        assert session.progress.val["loss"] == pytest.approx(alone.progress.val["loss"], abs=1e-6)  # of float32
        assert distance(session, alone) < 1e-9
        assert torch.equal(session.random_state.tensors["cpu"], alone.random_state.tensors["cpu"])


def test_mixed_batch_equals_solo_runs() -> None:
    """Other methods, lengths, numbers of trained tokens, accumulation and ends, in float64."""
    backbone = pretrained()
    together = [make(setting, backbone) for setting in MIXED]
    fit(together, sharing="always")
    assert together[3].status == "pruned" and together[4].progress.epoch < 5
    assert_equal(together, MIXED, backbone)


@pytest.mark.parametrize("kind", [kind for kind in DECODERS if kind in FIRST_POSITION])
def test_every_architecture(kind: str) -> None:
    """Also with sliding windows shorter than rows, dropout of attention, and GPT-2's transposed layers."""
    settings = [Setting("lora", {"r": 4}, {"epochs": 1}, seed=1), Setting("ia3", {}, {"epochs": 1}, seed=2)]
    backbone = pretrained(kind)
    together = [make(setting, backbone) for setting in settings]
    assert max(session.train.tokens.lengths.max() for session in together) > tiny_writers.WINDOW
    (fused,) = fused_groups(together)
    assert isinstance(fused, FusedGroup)
    fit(together, sharing="always")
    assert_equal(together, settings, backbone)


def test_in_float32_losses_differ_by_rounding() -> None:
    """To 1e-4, as for encoders."""
    settings = [replace(each, prune_at=None) for each in MIXED[:4]]
    backbone = pretrained(dtype=torch.float32)
    together, alone = ([make(setting, backbone) for setting in settings] for _ in range(2))
    fit(together, sharing="always")
    fit(alone)
    for one, solo in zip(together, alone, strict=True):
        assert one.largest_group == len(settings)
        assert one.progress.train_loss == pytest.approx(solo.progress.train_loss, abs=1e-4)
        assert one.progress.val["loss"] == pytest.approx(solo.progress.val["loss"], abs=1e-4)


def test_a_pass_that_fails_within_a_step_keeps_its_earlier_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of the step's first batch are still there when the second is computed alone."""
    settings = [Setting("lora", {"r": r}, {"epochs": 1, "batch_size": 2, "accumulate": 2}, seed=r) for r in (4, 8)]
    backbone = pretrained()
    together = [make(setting, backbone) for setting in settings]
    losses, calls = FusedGroup.losses, iter((False, True))

    def fails(self: FusedGroup) -> list[torch.Tensor]:
        if next(calls, False):
            raise torch.OutOfMemoryError("no room")
        return losses(self)

    monkeypatch.setattr(FusedGroup, "losses", fails)
    fit(together, sharing="always")
    for setting, session in zip(settings, together, strict=True):
        alone = make(setting, backbone)
        fit([alone])
        assert session.failure is None and distance(session, alone) < 1e-9


def test_what_adapts_the_head_computes_alone() -> None:
    """Its logits are its own."""
    adapted = Setting("lora", {"target_modules": ["q_proj", "lm_head"]})
    sessions = [make(setting, pretrained()) for setting in (adapted, Setting("lora"), Setting("lora", seed=1))]
    group, alone = fused_groups(sessions)
    assert isinstance(group, FusedGroup) and alone is sessions[0]
