"""Label smoothing and NEFTune on models that write texts: equal to transformers' own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.config.schema import TrainConfig
from harness.models.language.language_model import LanguageModel
from harness.training.loop import fit, gradients, predict
from tests.helpers import tiny_writers
from tests.tasks.text_generation.test_training import CPU, RUNTIME, examples, session

KINDS = [(tiny_writers.decoder, False), (tiny_writers.encoder_decoder, True)]


@pytest.mark.parametrize(("make", "paired"), KINDS, ids=["decoder", "encoder-decoder"])
def test_label_smoothing_is_that_of_transformers(make: Any, paired: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients are those of its `LabelSmoother`, which sums in float32; evaluation has none."""
    from transformers.trainer_pt_utils import LabelSmoother

    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, paired)
    model = make(tokens, torch.float64)
    network = LanguageModel(copy.deepcopy(model))
    config = TrainConfig(batch_size=6, epochs=1, label_smoothing=0.2)
    mine = session(network, rows, 1, config=config)
    network.train()
    batch = rows.batch(mine.next_rows(), CPU)
    [(_, loss)] = gradients(mine)
    model.train()
    logits = model(**batch).logits
    wanted = LabelSmoother(epsilon=0.2)({"logits": logits}, batch["labels"], shift_labels=not paired)
    wanted.backward()
    assert loss == pytest.approx(float(wanted.detach()), abs=1e-6)
    for one, other in zip(network.backbone.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-7)
    plain = LanguageModel(model).eval()
    np.testing.assert_allclose(
        predict(network, RUNTIME, rows, config, CPU)["nll"], predict(plain, RUNTIME, rows, config, CPU)["nll"]
    )


@pytest.mark.parametrize(("make", "paired"), KINDS, ids=["decoder", "encoder-decoder"])
def test_neftune_is_that_of_transformers(make: Any, paired: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws from the same generator, in training only; its range is computed in float32."""
    from transformers.integrations.neftune import neftune_post_forward_hook

    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, paired)
    model = make(tokens, torch.float64)
    network = LanguageModel(copy.deepcopy(model))
    config = TrainConfig(batch_size=6, epochs=1, neftune=5.0)
    mine = session(network, rows, 1, config=config)
    network.train()
    batch = rows.batch(mine.next_rows(), CPU)
    stream = mine.random_state.tensors["cpu"]
    [(_, loss)] = gradients(mine)

    model.train()
    embeddings = [model.get_input_embeddings()]
    if paired:  # each side has a module of its own on the shared table
        embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
        embeddings = [module for module in embeddings if module.weight is model.get_input_embeddings().weight]
    for module in embeddings:
        module.neftune_noise_alpha = 5.0
        module.register_forward_hook(neftune_post_forward_hook)
    with torch.random.fork_rng():
        torch.set_rng_state(stream)
        wanted = model(**batch).loss
    assert loss == pytest.approx(float(wanted.detach()), abs=1e-6)
    still = LanguageModel(make(tokens, torch.float64)).eval()
    assert loss != pytest.approx(float(RUNTIME.loss(still(batch), torch.empty(0), 0.0).detach()), abs=1e-6)
    np.testing.assert_array_equal(
        predict(network, RUNTIME, rows, config, CPU)["nll"], predict(still, RUNTIME, rows, config, CPU)["nll"]
    )


def test_both_work_on_packed_rows() -> None:
    """With accumulation, to the end."""
    tokens = tiny_writers.tokenizer()
    config = TrainConfig(batch_size=4, accumulate=2, epochs=1, neftune=5.0, label_smoothing=0.1, packing=True)
    rows = RUNTIME.trained_on(examples(tokens, False), config, 64)
    mine = session(LanguageModel(tiny_writers.decoder(tokens)), rows, 2, config=config)
    fit([mine])
    assert mine.failure is None and mine.status == "done"
    assert replace(config).label_smoothing == mine.network.label_smoothing
