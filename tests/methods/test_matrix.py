"""Every method on every architecture: each pair trains, or a message says why it cannot."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import ClosedForm
from harness.methods.catalogue import catalogue
from harness.models.network import AdaptedModel
from tests.helpers import networks
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_models import ROWS, TINY, Tiny, tiny

OVERLAYS = {
    name: overlay
    for name, overlay in catalogue(ROOT / "conf/method").items()
    if "text_classification" in (overlay["method"]["about"].get("tasks") or ("text_classification",))
}
LABELS = np.array([0, 0, 1, 1])
STEPS = 3
# Settings that have to divide the width of a layer, for a width of 32 (16 with the narrower keys and values).
SETTINGS: dict[str, dict[str, Any]] = {
    "c3a": {"block_size": 16},
    "vblora": {"vector_length": 16},
    "road": {"group_size": 16},
    "oft": {"oft_block_size": 16},
    "adamss": {"r": 8},
    "shira": {"r": 8},
    "waveft": {"n_frequency": 100},
    "fourierft": {"n_frequency": 100},
    "psoft": {"r": 8},
}
# Pairs that cannot be, and a part of the message.
_BIASES = ("modernbert-base", "llama-3.2-1b", "qwen3-0.6b", "gemma-3-270m", "t5-base")
_NO_CACHE = ("deberta-v3-base", "distilbert", "modernbert-base", "albert-base", "mpnet-base", "t5-base")
_TRANSPOSED = (
    "adamss", "beft", "boft", "c3a", "delora", "glora", "hra", "lily", "loha", "lokr", "miss", "oft", "olora", "osf",
    "peanut", "psoft", "road", "shira", "supertuning",
)  # fmt: skip
UNSUPPORTED: dict[tuple[str, str], str] = {
    **{("bitfit", name): "has none" for name in _BIASES},
    **{(method, name): "virtual tokens" for method in ("prefix_tuning", "cartridge") for name in _NO_CACHE},
    **{(method, "gpt2"): "cannot adapt model=gpt2" for method in _TRANSPOSED},  # its layers are Conv1D
    ("eva", "deberta-v3-base"): "see something else",
    ("last_layers", "albert-base"): "has 1 blocks",  # they share their weights
}
# On these every method: an encoder, one whose layers hold their weights transposed, one with narrower keys and values.
EVERY = ("bert-base", "gpt2", "llama-3.2-1b")
# Elsewhere one of each way to find or change layers; the other methods differ in what they put into the same layers.
KINDS = (
    "linear_probe", "full", "last_layers", "gradual_unfreezing", "bitfit", "ln_tuning", "lora", "lora_all_linear",
    "ia3", "oft", "houlsby", "prompt_tuning", "prefix_tuning",
)  # fmt: skip


def pairs() -> list[Any]:
    """Every method with every architecture; those that repeat what others show are long."""
    return [
        pytest.param(
            method,
            name,
            marks=() if name in EVERY or method in KINDS or (method, name) in UNSUPPORTED else pytest.mark.long,
        )
        for method in OVERLAYS
        for name in TINY
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models lie."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("tiny")


@pytest.mark.parametrize(("method", "name"), pairs())
def test_method_on_architecture(method: str, name: str, folder: Path) -> None:
    """Three steps: a finite loss, and nothing but what is declared moves; or the reason why not."""
    reason = UNSUPPORTED.get((method, name))
    if reason is None:
        steps(method, tiny(name, folder))
    else:
        with pytest.raises(HarnessError, match=reason):
            steps(method, tiny(name, folder))


def steps(name: str, base: Tiny) -> None:
    """Adapt a copy of a tiny model and train it for some steps."""
    overlay = copy.deepcopy(OVERLAYS[name])
    overlay["method"].get("config", {}).update(SETTINGS.get(name, {}))
    method = build(overlay["method"])
    torch.manual_seed(0)
    network = AdaptedModel(base.copy(), base.model.pooling, 2)
    rows = np.arange(ROWS)
    if isinstance(method, ClosedForm):
        with torch.no_grad():
            features = network.features(base.batch(rows)).numpy()
        assert method.fit(features, LABELS, features[[0, 2]]) is not None
        return
    network.reset_head()
    hooks = method.adapt(network, base.model, 10)
    method.initialize(network, iter([base.batch(rows)]))
    trainable = network.trainable()
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(trainable.values(), lr=float(overlay["train"]["lr"]))
    losses = networks.train(network, hooks, optimizer, base.batch, LABELS, STEPS)
    moved = {key for key, p in network.named_parameters() if not torch.equal(p, before[key])}
    assert all(map(math.isfinite, losses)) and len(set(losses)) > 1
    assert moved <= set(trainable)
    # The blocks join gradually, after the steps that are taken here.
    assert name == "gradual_unfreezing" or any(not key.startswith("head.") for key in moved)
