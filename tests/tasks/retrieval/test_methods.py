"""Methods of every kind train a bi-encoder; what has another head, or needs features, is refused."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.config.instantiate import build
from harness.data.examples import Examples
from harness.data.tokenization import Tokens
from harness.methods.catalogue import catalogue
from harness.models.retrieval.retrieval_network import RetrievalNetwork
from harness.tasks.retrieval.examples import RetrievalExamples
from harness.tasks.retrieval.runtime import RetrievalRuntime
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_models import VOCABULARY, tiny
from tests.methods.test_matrix import SETTINGS

OVERLAYS = catalogue(ROOT / "conf/method")
KINDS = (
    "full", "last_layers", "gradual_unfreezing", "bitfit", "lora", "ia3", "adalora", "houlsby", "prompt_tuning",
    "prefix_tuning", "eva", "vera",
)  # fmt: skip
ROWS, PASSAGES = 6, 12
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models lie."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("tiny")


def tokens(rows: int, seed: int) -> Tokens:
    draw = np.random.default_rng(seed)
    offsets = np.cumsum([0, *draw.integers(3, 8, rows)], dtype=np.int64)
    return Tokens(draw.integers(3, VOCABULARY, offsets[-1]).astype(np.int32), offsets, None, 0)


def examples() -> RetrievalExamples:
    targets = np.empty(ROWS, dtype=object)
    for row in range(ROWS):
        targets[row] = ((row, 1.0),)
    collection = Examples(tokens(PASSAGES, 1), np.arange(PASSAGES), 0)
    return RetrievalExamples(tokens(ROWS, 0), targets, 0, negatives=((),) * ROWS, passages=collection)


@pytest.mark.parametrize(
    ("name", "model"), [*((name, "bert-base") for name in KINDS), ("lora", "qwen3-0.6b"), ("lora", "t5-base")]
)
def test_method_on_a_bi_encoder(name: str, model: str, folder: Path) -> None:
    """Some steps lower the loss and move nothing but what is declared; scores are those of the new weights."""
    base, overlay = tiny(model, folder), copy.deepcopy(OVERLAYS[name])
    overlay["method"].get("config", {}).update(SETTINGS.get(name, {}))
    method, rows, given = build(overlay["method"]), np.arange(ROWS), examples()
    torch.manual_seed(0)
    task = RetrievalRuntime(tuple(f"passage {n}" for n in range(PASSAGES)), (), np.zeros(PASSAGES, dtype=np.int64))
    network = task.network(base.copy(), base.model.pooling)
    assert isinstance(network, RetrievalNetwork)
    network.temperature = 0.1
    hooks = method.adapt(network, base.model, 30)
    method.initialize(network, iter([given.batch(rows, CPU)]))
    assert not [key for key in network.trainable() if key.startswith("head")]
    frozen = {key: p.detach().clone() for key, p in network.named_parameters() if not p.requires_grad}
    network.set_dropout(0.0)
    network.eval()
    before = task.predict(network, given, ROWS, CPU, "fp32")["scores"].copy()
    optimizer, losses = torch.optim.AdamW(network.trainable().values(), lr=1e-2), list[float]()
    network.train()
    for step in range(12):
        batch, wanted = given.training_batch(rows, CPU, torch.empty(0))
        loss = task.loss(network(batch), wanted, 0.0)
        penalty = hooks.penalty()
        (loss if penalty is None else loss + penalty).backward()
        hooks.before_update(step)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    assert all(map(math.isfinite, losses)) and min(losses[6:]) < losses[0], losses
    assert all(torch.equal(p, frozen[key]) for key, p in network.named_parameters() if key in frozen)
    network.eval()
    after = task.predict(network, given, ROWS, CPU, "fp32")
    assert np.isfinite(after["scores"]).all() and not np.allclose(after["scores"], before)
