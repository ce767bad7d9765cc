"""Every method that says it is for tags trains one, on an encoder and on a decoder, with windows of unequal lengths."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.api.family import families
from harness.config.instantiate import build
from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.methods import GradientTrained
from harness.methods.catalogue import catalogue
from harness.models.language.token_network import TokenBatch, TokenNetwork
from harness.tasks.token_tagging.runtime import TokenTaggingRuntime
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_models import ROWS, Tiny, tiny
from tests.methods.test_matrix import SETTINGS, UNSUPPORTED

OVERLAYS = {
    name: overlay
    for name, overlay in catalogue(ROOT / "conf/method").items()
    if "token_tagging" in (overlay["method"]["about"].get("tasks") or ("token_tagging",))
    and isinstance(build(overlay["method"]), GradientTrained)
}
MODELS = ("bert-base", "qwen3-0.6b")
# On the decoder one of each way to find or change layers; virtual tokens, which are no words, are among them.
KINDS = ("full", "last_layers", "lora", "ia3", "houlsby", "prompt_tuning", "p_tuning", "prefix_tuning", "eva", "bitfit")
TAGS = TokenTaggingRuntime(("O", "B-a", "I-a"), "BIO")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models lie."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("tiny")


def batch(base: Tiny) -> Batch:
    """Each second token of a text has a tag."""
    found = TokenBatch(base.batch(np.arange(ROWS)))
    found.predicted = found["attention_mask"] * (torch.arange(7) % 2)
    return found


@pytest.mark.parametrize(
    ("name", "model"), [(name, model) for model in MODELS for name in OVERLAYS if model == MODELS[0] or name in KINDS]
)
def test_method_on_words(name: str, model: str, folder: Path) -> None:
    """Three steps: an output a word, a finite loss, and nothing but what is declared moves; or the reason why not."""
    base = tiny(model, folder)
    overlay = copy.deepcopy(OVERLAYS[name])
    overlay["method"].get("config", {}).update(SETTINGS.get(name, {}))
    method = build(overlay["method"])
    torch.manual_seed(0)
    network = TokenNetwork(base.copy(), TAGS.outputs)
    network.reset_head()
    named, inputs = base.model.for_family(families()["token_tagging"]), batch(base)
    if (name, model) in UNSUPPORTED:
        with pytest.raises(HarnessError, match=UNSUPPORTED[name, model]):
            method.adapt(network, named, 10)
        return
    hooks = method.adapt(network, named, 10)
    method.initialize(network, iter([inputs]))
    trainable = network.trainable()
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(trainable.values(), lr=float(overlay["train"]["lr"]))
    targets = TAGS.targets(np.array([("B-a", "I-a", "O"), ("O", "B-a"), ("O", "O"), ("B-a", "O", "O")], dtype=object))
    losses = []
    network.train()
    for step in range(3):
        outputs = network(inputs)
        assert outputs.shape == (len(targets), 3)
        loss = TAGS.loss(outputs, targets, 0.1)
        penalty = hooks.penalty()
        (loss if penalty is None else loss + penalty).backward()
        hooks.before_update(step)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    moved = {key for key, p in network.named_parameters() if not torch.equal(p, before[key])}
    assert all(map(math.isfinite, losses)) and len(set(losses)) > 1
    assert moved <= set(trainable) and any(key.startswith("head.") for key in moved)
