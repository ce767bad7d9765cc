"""Fine-tuning of the last blocks: which they are, in every architecture."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.methods.last_layers import LastLayers
from tests.helpers import networks

LAST = {
    "bert-base": "backbone.encoder.layer.1.",
    "distilbert": "backbone.transformer.layer.1.",
    "deberta-v3-base": "backbone.encoder.layer.1.",
    "modernbert-base": "backbone.layers.1.",
    "gpt2": "backbone.h.1.",
    "llama-3.2-1b": "backbone.layers.1.",
    "t5-base": "backbone.encoder.block.1.",
}


@pytest.mark.parametrize("kind", LAST)
def test_only_the_last_block_and_the_head_train(kind: str) -> None:
    """Every parameter of the last block trains, and no other but the head's."""
    network = networks.network(kind)
    LastLayers(name="last_layers", layers=1).adapt(network, networks.model(), 10)
    expected = {name for name, _ in network.named_parameters() if name.startswith((LAST[kind], "head."))}
    assert set(network.trainable()) == expected and len(expected) > 4


def test_blocks_are_found_under_an_architectures_own_head() -> None:
    """With model.pooling=model the last block lies one level deeper."""
    network = networks.network("bert-base", pooling="model")
    LastLayers(name="last_layers", layers=1).adapt(network, networks.model(pooling="model"), 10)
    names = set(network.trainable())
    assert {name.split(".")[1] for name in names} == {"bert", "classifier"}
    assert all(name.startswith(("backbone.bert.encoder.layer.1.", "backbone.classifier.")) for name in names)


def test_number_of_layers_must_fit() -> None:
    """No layers, and more than the model has, are told with what to use instead."""
    with pytest.raises(HarnessError, match=r"method\.layers must be a whole number, 1 or more, not 0"):
        LastLayers(name="last_layers", layers=0)
    with pytest.raises(HarnessError, match=r"method\.layers=3, but model=tiny has 2 blocks.*method=full"):
        LastLayers(name="last_layers", layers=3).adapt(networks.network("bert-base"), networks.model(), 10)
