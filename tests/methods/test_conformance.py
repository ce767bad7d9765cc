"""What every method that trains must do, on the first blocks of the real MiniLM."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.data.examples import Batch
from harness.methods import GradientTrained, Hooks
from harness.methods.catalogue import catalogue, evaluate, symbols
from harness.models import PretrainedModel, ResolvedModel
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from harness.serving.saved_model import describe, load_network, read_description, save_model
from harness.tasks.text_classification.runtime import TextClassificationRuntime
from harness.training.optimizer import make_optimizer
from tests.helpers import networks
from tests.helpers.small_dataset import ROOT, minilm, shorten

OVERLAYS = catalogue(ROOT / "conf/method")
TRAINED = [
    name
    for name, each in OVERLAYS.items()
    if isinstance(build(each["method"]), GradientTrained)
    and "text" in each["method"]["about"].get("inputs", ("text",))  # recommenders have no backbone
]
TEXTS = [
    "my card is lost", "i lost the card", "where is my refund", "please pay me back",
    "the parcel is late", "it has not arrived", "i forgot my password", "i cannot log in",
]  # fmt: skip
LABELS = np.repeat(np.arange(4), 2)
STEPS = 20
# Their adapters begin as a part of the pretrained weights, which leaves the base when they are put in.
TAKES_FROM_THE_BASE = ("pissa", "olora")


@dataclass(frozen=True)
class Base:
    """MiniLM's first blocks, as every test begins with them."""

    model: PretrainedModel
    resolved: ResolvedModel
    tokenizer: Any
    backbone: nn.Module

    def batch(self, rows: Any) -> Batch:
        """The inputs of some texts."""
        encoded = self.tokenizer([TEXTS[row] for row in rows], padding=True, return_tensors="pt")
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


@dataclass(frozen=True)
class Trained:
    """A method after some steps."""

    name: str
    network: AdaptedModel
    hooks: Hooks
    losses: list[float]
    before: dict[str, Tensor]  # every parameter, once the method was put in
    trainable: set[str]


def load(model: PretrainedModel, cache: Path) -> Base:
    """Load a model and its tokenizer."""
    torch.set_num_threads(1)
    resolved = model.resolve(cache)
    return Base(model, resolved, load_tokenizer(resolved), load_backbone(resolved, "mean", 0))


@pytest.fixture(scope="module")
def base(cache: Path) -> Base:
    """MiniLM's first blocks; tests change copies."""
    return load(PretrainedModel(name="minilm", path=str(shorten())), cache)


@pytest.fixture(scope="module")
def whole(cache: Path) -> Base:
    """All of MiniLM; tests change copies."""
    return load(build(minilm()), cache)


def adapt(base: Base, name: str, steps: int) -> tuple[AdaptedModel, Hooks]:
    """Put a method into a copy of a model."""
    torch.manual_seed(0)
    method = build(OVERLAYS[name]["method"])
    network = AdaptedModel(copy.deepcopy(base.backbone), "mean", 4)
    network.reset_head()
    hooks = method.adapt(network, base.model, steps)
    method.initialize(network, iter([base.batch(np.arange(len(TEXTS)))]))
    return network, hooks


def train(base: Base, name: str, steps: int) -> Trained:
    """Adapt a copy of a model and train it, dropout off, on four classes of two texts each."""
    network, hooks = adapt(base, name, steps)
    trainable = network.trainable()
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    config = replace(TrainConfig(), lr=float(OVERLAYS[name]["train"]["lr"]), head_lr=3e-3)
    optimizer = make_optimizer(network, config, hooks)
    network.eval()  # without dropout the loss of a step can be compared with another's
    losses = networks.train(network, hooks, optimizer, base.batch, LABELS, steps)
    return Trained(name, network, hooks, losses, before, set(trainable))


@pytest.fixture(scope="module", params=TRAINED)
def trained(request: pytest.FixtureRequest, base: Base) -> Trained:
    """Each method, trained once for all tests."""
    return train(base, request.param, STEPS)


def test_loss_falls(trained: Trained) -> None:
    """Twenty steps lower the training loss."""
    assert np.mean(trained.losses[-3:]) < 0.8 * trained.losses[0]


def test_only_what_is_declared_changes(trained: Trained) -> None:
    """Frozen parameters stay bit for bit; the head is declared, and something outside it moves."""
    after = dict(trained.network.named_parameters())
    moved = {key for key, value in trained.before.items() if not torch.equal(after[key], value)}
    assert {"head.weight", "head.bias"} <= trained.trainable
    assert moved <= trained.trainable
    assert any(not key.startswith("head.") for key in moved)


def test_base_is_bit_identical(trained: Trained, base: Base) -> None:
    """Whatever an adapter does, the pretrained weights under it are those that were loaded."""
    pretrained = dict(base.backbone.named_parameters())
    frozen = {
        key.replace(".base_layer", "").replace(".base.", "."): p
        for key, p in trained.network.backbone.named_parameters()
        if f"backbone.{key}" not in trained.trainable
    }
    changed = set()
    for key, value in pretrained.items():
        same = [p for name, p in frozen.items() if name == key or name.endswith(f".{key}")]
        if same and not any(p.shape == value.shape and torch.equal(p, value) for p in same):
            changed.add(key)
    if trained.name in TAKES_FROM_THE_BASE:
        assert changed and all(key.endswith(("query.weight", "value.weight")) for key in changed)
    else:
        assert not changed


@pytest.mark.parametrize("name", TRAINED)
def test_count_is_that_of_the_formula(name: str, whole: Base) -> None:
    """conf/method's formula gives the number of trainable parameters of MiniLM without the head."""
    network, _ = adapt(whole, name, STEPS)
    sizes = {key: p.numel() for key, p in network.trainable().items()}
    method = OVERLAYS[name]["method"]
    expected = evaluate(method["about"]["parameters"], symbols(method))
    assert sum(size for key, size in sizes.items() if not key.startswith("head.")) == expected


def test_saved_and_loaded_it_answers_alike(trained: Trained, base: Base, cache: Path, tmp_path: Path) -> None:
    """A saved model gives the same logits; an adapter of PEFT is loaded by PEFT."""
    facts = describe(
        base.model, base.resolved, TextClassificationRuntime(("a", "b", "c", "d")), 64, False, "texts", trained.name
    )
    save_model(tmp_path / "model", trained.network, trained.hooks, base.tokenizer, facts)
    loaded = load_network(tmp_path / "model", read_description(tmp_path / "model"), cache)
    batch = base.batch(range(len(TEXTS)))
    with torch.no_grad():
        expected, found = trained.network.eval()(batch), loaded(batch)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert (tmp_path / "model/adapter").is_dir() == ("config" in OVERLAYS[trained.name]["method"])


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_gives_the_same_weights(name: str, base: Base) -> None:
    """Two trainings from one seed agree bit for bit."""
    first, second = (train(base, name, 2) for _ in range(2))
    other = dict(second.network.named_parameters())
    assert first.losses == second.losses
    assert all(torch.equal(p, other[key]) for key, p in first.network.named_parameters())
