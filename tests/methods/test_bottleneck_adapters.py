"""Bottleneck adapters: where they sit in each architecture, that they begin as nothing, and what trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.methods.bottleneck_adapters import Adapters, Bottleneck, insert
from harness.models.network import AdaptedModel
from tests.helpers import networks

HOULSBY: dict[str, Any] = {"name": "houlsby", "size": 4, "places": "both", "norms": True}
PFEIFFER: dict[str, Any] = {"name": "pfeiffer", "size": 4, "places": "feedforward", "norms": False}
# The layers that an adapter follows: the last of attention, the last of the feed-forward block.
PLACES = {
    "bert-base": ("attention.output.dense", "output.dense"),
    "distilbert": ("attention.out_lin", "ffn.lin2"),
    "mpnet-base": ("attention.attn.o", "output.dense"),
    "deberta-v3-base": ("attention.output.dense", "output.dense"),
    "albert-base": ("attention.dense", "ffn_output"),
    "modernbert-base": ("attn.Wo", "mlp.Wo"),
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "llama-3.2-1b": ("self_attn.o_proj", "mlp.down_proj"),
    "gemma-3-270m": ("self_attn.o_proj", "mlp.down_proj"),
    "t5-base": ("layer.0.SelfAttention.o", "layer.1.DenseReluDense.wo"),
}


def adapters(network: AdaptedModel) -> list[str]:
    """Names of the layers that have an adapter."""
    return [name for name, module in network.backbone.named_modules() if isinstance(module, Bottleneck)]


@pytest.mark.parametrize("kind", PLACES)
def test_each_block_has_its_adapters_and_they_begin_as_nothing(kind: str) -> None:
    """Houlsby's follow attention and feed-forward, Pfeiffer's the latter; before training no output changes."""
    inputs, blocks = (
        networks.batch(),
        1 if kind == "albert-base" else networks.LAYERS,
    )  # ALBERT's layers are one, used again
    for settings, places in ((HOULSBY, PLACES[kind]), (PFEIFFER, PLACES[kind][1:])):
        network = networks.network(kind)
        with torch.no_grad():
            expected = network(inputs)
        Adapters(**settings).adapt(network, networks.model(), 10)
        with torch.no_grad():
            assert torch.equal(network(inputs), expected)
        found = adapters(network)
        assert len(found) == blocks * len(places)
        for place in places:
            others = [other for other in places if other != place and other.endswith(place)]
            mine = [name for name in found if name.endswith(place) and not any(name.endswith(o) for o in others)]
            assert len(mine) == blocks, place


@pytest.mark.parametrize("kind", PLACES)
def test_every_adapter_learns_and_the_base_stays(kind: str) -> None:
    """After two steps each adapter's matrices have moved; what is frozen is the same, bit for bit."""
    network = networks.network(kind)
    Adapters(**HOULSBY).adapt(network, networks.model(), 10)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    trainable = network.trainable()
    optimizer = torch.optim.AdamW(trainable.values(), lr=1e-2)
    for _ in range(2):
        torch.autograd.backward(functional.cross_entropy(network(networks.batch()), torch.arange(6) % 3))
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in trainable), name


def test_adapter_is_what_the_paper_writes() -> None:
    """Its output is y + W_up s(W_down y + b_down) + b_up, for the base's output y."""
    torch.manual_seed(0)
    base = nn.Linear(5, 8)
    adapter = Bottleneck(base, 8, 3, "relu")
    nn.init.normal_(adapter.up.weight)
    nn.init.normal_(adapter.up.bias)
    inputs = torch.randn(4, 5)
    y = base(inputs)
    hidden = (y @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    torch.testing.assert_close(adapter(inputs), y + hidden @ adapter.up.weight.T + adapter.up.bias)


def test_norms_of_the_blocks_train_in_houlsby_only() -> None:
    """Houlsby trains the two normalisations of each block and not the embedding's; Pfeiffer none."""
    for settings, expected in ((HOULSBY, 2 * 2 * networks.LAYERS), (PFEIFFER, 0)):
        network = networks.network("bert-base")
        Adapters(**settings).adapt(network, networks.model(), 10)
        norms = [name for name in network.trainable() if "LayerNorm" in name]
        assert len(norms) == expected and all(".encoder.layer." in name for name in norms)


@pytest.mark.parametrize("kind", ["bert-base", "distilbert", "gpt2"])
def test_adapters_go_under_an_architectures_own_head(kind: str) -> None:
    """With model.pooling=model the same adapters are found, one level deeper, and the head trains."""
    network = networks.network(kind, pooling="model")
    Adapters(**HOULSBY).adapt(network, networks.model(pooling="model"), 10)
    assert len(adapters(network)) == 2 * networks.LAYERS
    assert {name for name, _ in network.head_parameters()} < set(network.trainable())


def test_hooks_tell_what_rebuilds_the_network() -> None:
    """`insert` with the facts that the hooks give takes the trained tensors and computes the same."""
    network = networks.network("bert-base")
    hooks = Adapters(**HOULSBY).adapt(network, networks.model(), 10)
    for name, parameter in network.trainable().items():
        if ".up." in name:
            nn.init.normal_(parameter)
    again = networks.network("bert-base")
    insert(again.backbone, **hooks.inserted())
    assert not again.load_state_dict(network.trainable(), strict=False).unexpected_keys
    with torch.no_grad():
        assert torch.equal(again(networks.batch()), network(networks.batch()))


def test_what_cannot_work_is_told() -> None:
    """Settings, layers that are not there, layers that are not linear and unknown architectures have messages."""
    with pytest.raises(HarnessError) as raised:
        Adapters(name="houlsby", size=0, places="bot", activation="tanh")
    assert len(raised.value.problems) == 3 and "Did you mean both?" in str(raised.value)
    network = networks.network("bert-base")
    with pytest.raises(HarnessError, match=r"no layer encoder\.layer\.9\.output\.dense"):
        insert(network.backbone, ["encoder.layer.9.output.dense"], 4, "gelu")
    with pytest.raises(HarnessError, match="follows a linear layer; encoder is a BertEncoder"):
        insert(network.backbone, ["encoder"], 4, "gelu")
    network.backbone.config.model_type = "novel"  # type: ignore[union-attr]  # a module's attributes have no types
    with pytest.raises(HarnessError, match=r"of an architecture \(novel\) whose layers have no known roles"):
        Adapters(**HOULSBY).adapt(network, networks.model(), 10)
