"""What train adds against over-fitting: each does what its paper says, and goes on exactly after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.methods import Hooks
from harness.models.network import AdaptedModel
from harness.records.signature import DEFAULTS_OF_LATER_KEYS, signature
from harness.training.loop import fit, predict
from harness.training.optimizer import make_optimizer
from harness.training.regularization import WeightAverage, adversarial, depth_factors
from harness.training.row_order import epoch_order
from tests.helpers.small_dataset import config
from tests.training.test_loop import CPU, same, session, weights

EACH: dict[str, float] = {"layer_decay": 0.5, "r_drop": 1.0, "mixout": 0.5, "fgm": 0.1, "ema": 0.9}
QUICK: dict[str, Any] = {"train__epochs": 1, "train__batch_size": 16}


def test_what_is_off_changes_no_signature(tmp_path: Path, cache: Path) -> None:
    """A configuration from before there were these keys is the run that it was; each of them, when on, is another."""
    composed = config(tmp_path, cache) | {"augment": {}}
    now = signature(composed, "tune", "data", "model")
    before = composed | {
        "train": {k: v for k, v in composed["train"].items() if f"train.{k}" not in DEFAULTS_OF_LATER_KEYS}
    }
    del before["augment"]
    assert signature(before, "tune", "data", "model") == now
    on = [composed | {"train": composed["train"] | {key: value}} for key, value in EACH.items()]
    on.append(composed | {"augment": {"noise": {"rate": 0.1}}})
    assert len({now, *(signature(one, "tune", "data", "model") for one in on)}) == len(on) + 1


def test_together_they_go_on_from_a_checkpoint_exactly(tmp_path: Path, cache: Path) -> None:
    """With all of them on, a member that was stopped within an epoch ends as one that was not, bit for bit."""
    options: dict[str, Any] = {f"train__{key}": value for key, value in EACH.items()} | QUICK
    plain, whole = session(tmp_path, cache, **QUICK), session(tmp_path, cache, **options)
    fit([plain, whole])
    assert whole.failure is None and whole.status == "done"
    assert not same(weights(plain), weights(whole))
    halted = session(tmp_path, cache, **options)
    halted.checkpoint_path = tmp_path / "on.safetensors"
    fit([halted], lambda: True)
    assert halted.status == "stopped" and halted.progress.step == 1
    torch.manual_seed(99)
    resumed = session(tmp_path, cache, **options)
    resumed.checkpoint_path = halted.checkpoint_path
    fit([resumed])
    assert resumed.progress.resumes == 1 and same(weights(resumed), weights(whole))
    assert resumed.progress.val == whole.progress.val and resumed.progress.train_loss == whole.progress.train_loss
    # What was judged is what is kept.
    assert whole.validation is not None and whole.best_predictions is not None
    judged = predict(whole.network, whole.task, whole.validation, whole.config, CPU)
    np.testing.assert_array_equal(judged, whole.best_predictions)


def test_average_follows_the_weights_and_gives_way(tmp_path: Path) -> None:
    """The average of k steps is their decayed mean; within the block it is in place, after it the weights are."""
    layer = nn.Linear(2, 1)

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = layer

        def trainable(self) -> dict[str, nn.Parameter]:
            return dict(self.named_parameters())

        def put(self, weights: dict[str, torch.Tensor]) -> None:
            self.load_state_dict(weights, strict=False)

    class Cuts(Hooks):
        names: tuple[str, ...] = ()

        def cut(self) -> tuple[str, ...]:
            return self.names

    hooks = Cuts()
    average = WeightAverage(Tiny(), 0.5, hooks)  # type: ignore[arg-type]  # all that it asks of a network
    expected = layer.weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            layer.weight.add_(1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(average.weights["head.weight"], expected)
    own = layer.weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight.detach(), own)
    with torch.no_grad():
        layer.weight[0, 0] = 0.0
    average.update(30)
    assert (average.weights["head.weight"] != 0).all()
    hooks.names = ("head.weight",)
    average.update(31)
    assert (average.weights["head.weight"] == 0).tolist() == [[True, False]]  # what was cut off stays so


def test_blocks_learn_slower_with_depth(tmp_path: Path, cache: Path) -> None:
    """The top block learns at train.lr, each block below at a share of that, embeddings last; the head apart."""
    built = session(tmp_path, cache, "full", backbone=None, train__layer_decay=0.5, train__lr=1e-3, train__head_lr=5e-3)
    factor = depth_factors(built.network, 0.5)
    assert factor("backbone.encoder.layer.5.output.dense.weight") == 1.0
    assert factor("backbone.encoder.layer.0.output.dense.weight") == 0.5**5
    assert factor("backbone.embeddings.word_embeddings.weight") == 0.5**6
    assert factor("backbone.prompt_encoder.default.embedding.weight") == 1.0
    groups = make_optimizer(built.network, built.config, built.hooks).param_groups
    assert {round(1e-3 / group["lr"]) for group in groups if group["lr"] != 5e-3} == {1, 2, 4, 8, 16, 32, 64}
    adapted = session(tmp_path, cache, "lora", backbone=None, train__layer_decay=0.5)
    rates = {group["lr"] for group in make_optimizer(adapted.network, adapted.config, adapted.hooks).param_groups}
    assert min(rates) == pytest.approx(adapted.config.lr / 32)


def test_adversarial_step_raises_the_loss_by_its_share_of_the_norm() -> None:
    """The second pass reads embeddings moved up the gradient, row by row; the mean of both losses has a gradient."""
    torch.manual_seed(0)
    table, layer = nn.Embedding(10, 6).requires_grad_(False), nn.Linear(6, 3)
    tokens, mask, labels = torch.randint(10, (4, 5)), torch.ones(4, 5), torch.tensor([0, 1, 2, 0])
    read: list[torch.Tensor] = []

    def loss() -> torch.Tensor:
        read.append(table(tokens))
        return functional.cross_entropy(layer(read[-1].mean(dim=1)), labels)

    plain = loss().detach()
    total = adversarial(loss, [table], mask, 0.1)
    assert float(2 * total.detach() - plain) > float(plain)
    moved = (read[2] - read[1]).detach().flatten(1).norm(dim=1) / read[1].detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((4,), 0.1))
    total.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    assert layer.weight.grad is not None and not table._forward_hooks


def test_mixout_keeps_the_expectation_and_reaches_the_gradient(tmp_path: Path, cache: Path) -> None:
    """Entries are initial or scaled about it, their mean is the weight; of what is replaced nothing is learnt."""
    built = session(tmp_path, cache, train__mixout=0.75, train__dropout=0.0, method__config__lora_dropout=0.0)
    name = next(name for name in built.objective.initial if "lora_A" in name)
    with torch.no_grad():
        built.network.trainable()[name].add_(1.0)
    draws = [built.objective._mixed()[name].detach() - built.objective.initial[name] for _ in range(400)]
    assert set(torch.stack(draws).round(decimals=3).unique().tolist()) == {0.0, 4.0}
    assert abs(float(torch.stack(draws).mean()) - 1.0) < 0.02
    rows = epoch_order(built.train.tokens.lengths, 8, 1, 0, 0)[0][0]
    labels = torch.from_numpy(built.train.targets[rows])
    built.objective(built.train.batch(rows, CPU), labels).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for key, p in built.network.trainable().items() if "lora_B" in key]
    assert any(float((grad == 0).float().mean()) > 0.5 for grad in grads if grad is not None)


def test_what_cannot_work_says_so(tmp_path: Path, cache: Path) -> None:
    """No silent fallback: equal passes, nothing to mix, a loss of the method's own, unknown blocks."""
    still = session(tmp_path, cache, train__r_drop=1.0, train__dropout=0.0, method__config__lora_dropout=0.0, **QUICK)
    fit([still])
    assert "there is no dropout" in str(still.failure)
    with pytest.raises(HarnessError, match="trains none outside"):
        session(tmp_path, cache, "bitfit", train__mixout=0.5)
    with pytest.raises(HarnessError, match=r"train\.label_smoothing=0\.1 changes"):
        session(tmp_path, cache, "setfit", train__label_smoothing=0.1)
    with pytest.raises(HarnessError, match="loss of its own"):
        session(tmp_path, cache, "setfit", train__fgm=0.1)
    still.network.backbone.config.model_type = "novel"  # type: ignore[union-attr]
    with pytest.raises(HarnessError, match=r"train\.layer_decay at 1"):
        depth_factors(still.network, 0.5)
    from transformers import BartConfig, BartModel

    both = BartModel(BartConfig(vocab_size=16, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16,
                                decoder_ffn_dim=16, encoder_attention_heads=1, decoder_attention_heads=1))  # fmt: skip
    with pytest.raises(HarnessError, match="an encoder and a decoder"):
        depth_factors(AdaptedModel(both, "last", 2), 0.5)
