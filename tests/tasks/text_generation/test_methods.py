"""Every method that trains, on a decoder and an encoder-decoder: it trains, writes, and trains on after that."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from harness.api.family import families
from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import GradientTrained
from harness.methods.catalogue import catalogue
from harness.models import PretrainedModel
from harness.models.language.language_model import IGNORED, LanguageModel
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.generation import generate
from tests.helpers import tiny_writers
from tests.helpers.small_dataset import ROOT
from tests.methods.test_matrix import SETTINGS

OVERLAYS = {
    name: overlay
    for name, overlay in catalogue(ROOT / "conf/method").items()
    if "text_generation" in (overlay["method"]["about"].get("tasks") or ("text_generation",))
    and isinstance(build(overlay["method"]), GradientTrained)
}
MODELS = {"decoder": tiny_writers.decoder, "encoder-decoder": tiny_writers.encoder_decoder}
PROMPTS = [[11, 12, 13], [14]]


@pytest.fixture(scope="module", params=MODELS)
def pretrained(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A tokenizer and a model; tests change copies."""
    torch.set_num_threads(1)
    tokens = tiny_writers.tokenizer()
    model = MODELS[request.param](tokens)
    model.config.use_cache = False  # as `load_backbone` leaves it
    return tokens, model


def batch(tokens: Any, paired: bool) -> dict[str, torch.Tensor]:
    """Four rows of random tokens, the last five of which are trained."""
    ids = torch.randint(10, len(tokens), (4, 12), generator=torch.Generator().manual_seed(0))
    if paired:
        return {"input_ids": ids[:, :7], "attention_mask": torch.ones_like(ids[:, :7]), "labels": ids[:, 7:].clone()}
    labels = torch.where(torch.arange(12) < 7, IGNORED, ids)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


@pytest.mark.parametrize("name", OVERLAYS)
def test_method_on_a_writer(name: str, pretrained: tuple[Any, Any]) -> None:
    """Steps lower the loss on a batch, and only what is declared moves."""
    tokens, model = pretrained
    overlay = copy.deepcopy(OVERLAYS[name])
    overlay["method"].get("config", {}).update(SETTINGS.get(name, {}))
    method = build(overlay["method"])
    torch.manual_seed(0)
    network = LanguageModel(copy.deepcopy(model))
    named = PretrainedModel(name="tiny", path=".").for_family(families()["text_generation"])
    if name == "bitfit":
        with pytest.raises(HarnessError, match="has none"):
            method.adapt(network, named, 10)
        return
    hooks = method.adapt(network, named, 10)
    inputs = batch(tokens, network.is_encoder_decoder)
    if name == "eva" and network.is_encoder_decoder:
        with pytest.raises(HarnessError, match="an encoder and a decoder"):
            method.initialize(network, iter([inputs]))
        return
    method.initialize(network, iter([inputs]))
    network.eval()
    # Generation computes in inference mode; what layers cache then must not reach training.
    generate(network.backbone, tokens, PROMPTS, Decoding(max_new_tokens=2))
    trainable = network.trainable()
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(trainable.values(), lr=float(overlay["train"]["lr"]))
    losses = []
    for step in range(6):
        sums = network(inputs)
        assert sums[:, 1].tolist() == [5.0] * 4
        loss = sums[:, 0].sum() / sums[:, 1].sum()
        penalty = hooks.penalty()
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        hooks.before_update(step)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
        losses.append(float(loss))
        if step == 2:
            assert len(generate(network.backbone, tokens, PROMPTS, Decoding(max_new_tokens=2))) == 2
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]
    moved = {key for key, p in network.named_parameters() if not torch.equal(p, before[key])}
    assert moved <= set(trainable)
    if name == "last_layers" and network.is_encoder_decoder:
        assert all(".decoder.block." in key for key in moved)
