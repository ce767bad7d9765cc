"""Adapters of PEFT: rates and parts of their own, and factors that begin from the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.methods import GradientTrained
from harness.models.network import AdaptedModel
from harness.training.optimizer import make_optimizer
from tests.helpers import networks
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_models import VOCABULARY


def method(name: str, **changes: Any) -> GradientTrained:
    """A method of conf/method, with some of its keys changed."""
    node = yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text(encoding="utf-8"))["method"]
    node["config"] |= changes.pop("config", {})
    made: GradientTrained = build(node | changes)
    return made


def batch(rows: int, tokens: int, seed: int = 0) -> Batch:
    """Random tokens without padding."""
    ids = torch.randint(3, VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def factors(network: AdaptedModel) -> dict[str, Tensor]:
    """The first LoRA factors by name."""
    return {name: p.detach() for name, p in network.named_parameters() if ".lora_A." in name}


def test_lora_plus_learns_its_second_factor_faster() -> None:
    """B has sixteen times the rate of A, the head the head's."""
    network = networks.network("bert-base")
    hooks = method("lora_plus").adapt(network, networks.model(), 10)
    optimizer = make_optimizer(network, replace(TrainConfig(), lr=1e-4, head_lr=1e-2), hooks)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.trainable().items():
        expected = 1e-2 if name.startswith("head.") else 16e-4 if ".lora_B." in name else 1e-4
        assert found[id(parameter)] == pytest.approx(expected), name


def test_lora_fa_leaves_the_first_factor_as_it_was_drawn() -> None:
    """Only B and the head train."""
    network = networks.network("bert-base")
    method("lora_fa").adapt(network, networks.model(), 10)
    trained = [name for name in network.trainable() if not name.startswith("head.")]
    assert trained and all(".lora_B." in name for name in trained)
    assert all(float(a.abs().max()) > 0 for a in factors(network).values())


@pytest.mark.parametrize(("key", "value"), [("frozen", ["lora_C"]), ("rates", {"lora_C": 4})])
def test_parts_that_do_not_exist_are_told(key: str, value: Any) -> None:
    """A misspelt part is an error that names the parts there are, not a setting without effect."""
    with pytest.raises(HarnessError, match=rf"method\.{key} names 'lora_C'.*Known: .*lora_A, lora_B"):
        method("lora", **{key: value}).adapt(networks.network("bert-base"), networks.model(), 10)


def test_eva_begins_with_directions_of_the_data() -> None:
    """A becomes orthonormal directions of the layer's inputs, other rows give others; the model answers as before."""
    before = networks.network("bert-base")
    made = {}
    for seed in (0, 1):
        network = networks.network("bert-base")
        eva = method("eva", config={"r": 4})
        eva.adapt(network, networks.model(), 10)
        eva.initialize(network, (batch(8, 12, seed + 10 * part) for part in range(4)))
        made[seed] = factors(network)
        network.eval()
        probe = batch(3, 6)
        with torch.no_grad():
            torch.testing.assert_close(network.backbone(**probe), before.backbone(**probe))
    for name, first in made[0].items():
        torch.testing.assert_close(first @ first.T, torch.eye(4), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(first.abs(), made[1][name].abs(), atol=1e-3)


def test_eva_without_its_class_is_refused() -> None:
    """PEFT would go on with factors that nobody has set."""
    with pytest.raises(HarnessError, match=r"method=eva \(kind: eva\)"):
        method("lora", config={"init_lora_weights": "eva"})


def test_eva_ends_where_the_rows_hold_too_few_directions() -> None:
    """Where PEFT would read the rows for ever, the message says what to change."""
    network = networks.network("bert-base")
    eva = method("eva", config={"r": 16})
    eva.adapt(network, networks.model(), 10)
    with pytest.raises(HarnessError, match=r"finds no 16 directions.*the largest has 4.*Lower method\.config\.r"):
        eva.initialize(network, [batch(1, 4)])


@pytest.mark.parametrize(
    ("role", "layers"), [("query_value", 2), ("attention", 4), ("feedforward", 2), ("all_linear", 6)]
)
def test_layers_are_named_by_role(role: str, layers: int) -> None:
    """A role stands for that many layers of each block."""
    network = networks.network("bert-base")
    method("lora", config={"target_modules": role}).adapt(network, networks.model(), 10)
    assert len(factors(network)) == layers * networks.LAYERS
