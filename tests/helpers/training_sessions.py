"""Members of the training loop on tiny random models, or on MiniLM, that share their frozen tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.data.examples import Examples
from harness.data.tokenization import Tokens
from harness.models.network import AdaptedModel
from harness.tasks.text_classification.metrics import METRICS
from harness.tasks.text_classification.runtime import TextClassificationRuntime
from harness.training.fused import share
from harness.training.session import TrainingSession
from tests.helpers.networks import model
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_models import TINY, VOCABULARY

CPU = torch.device("cpu")
CLASSES = 3


@dataclass(frozen=True)
class Setting:
    """One member: its method, the keys of its `method.config` and of its `train`, its seed, and when it is pruned."""

    method: str = "lora"
    adapter: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    prune_at: int | None = None
    longest: int = 12  # of its rows


@cache
def pretrained(name: str = "bert-base", dtype: torch.dtype = torch.float64) -> nn.Module:
    """A tiny backbone with random weights, and dropout."""
    import transformers as hf

    torch.manual_seed(0)
    kind, settings = TINY[name]
    return hf.AutoModel.from_config(hf.AutoConfig.for_model(kind, **settings)).to(dtype).eval()


def rows(seed: int, count: int, longest: int) -> Examples:
    """Random rows of unequal lengths; the class shows in the tokens."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, longest + 1, count)
    labels = draw.integers(0, CLASSES, count)
    ids = np.concatenate(
        [draw.integers(3, VOCABULARY // 2, n) + label for n, label in zip(lengths, labels, strict=True)]
    )
    return Examples(Tokens(ids.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]), None, 0), labels, 0)


def make(
    setting: Setting, backbone: nn.Module, examples: tuple[Examples, Examples] | None = None, classes: int = CLASSES
) -> TrainingSession:
    """Make a member as a run does: a copy of the backbone, adapted, its frozen tensors shared.

    Args:
        setting: of the member.
        backbone: its tensors are shared.
        examples: to train on, and for validation; by default random rows.
        classes: that the labels are of.
    """
    node = yaml.safe_load((ROOT / "conf/method" / f"{setting.method}.yaml").read_text(encoding="utf-8"))["method"]
    node = node | ({"config": node["config"] | setting.adapter} if "config" in node else {})
    method = build(node)
    config = replace(TrainConfig(epochs=10, batch_size=4, lr=1e-3, dropout_masks="lanes"), **setting.train)
    network = AdaptedModel(copy.deepcopy(backbone), "mean", classes).to(next(backbone.parameters()).dtype)
    if config.dropout is not None:
        network.set_dropout(config.dropout)
    torch.manual_seed(setting.seed)
    network.reset_head()
    hooks = method.adapt(network, model(), 100)
    train, validation = examples or (rows(setting.seed, 40, setting.longest), rows(99, 16, 12))
    task = TextClassificationRuntime(tuple(map(str, range(classes))))
    session = TrainingSession(
        network=network.to(next(backbone.parameters()).dtype), task=task, hooks=hooks, config=config,
        train=train, validation=validation, metric=METRICS["accuracy"],
        seed=setting.seed, device=CPU, say=lambda line: None,
    )  # fmt: skip
    if setting.prune_at is not None:
        session.stop = lambda: "prune" if session.progress.step == setting.prune_at else None
    share(session, backbone)
    return session


def weights(session: TrainingSession) -> dict[str, torch.Tensor]:
    """Copies of what a member trains."""
    return {name: p.detach().clone() for name, p in session.network.trainable().items()}


def distance(one: TrainingSession, other: TrainingSession) -> float:
    """Largest difference of two members' weights."""
    return max(float((p - weights(other)[name]).abs().max()) for name, p in weights(one).items())


Made = Callable[[Sequence[Setting]], list[TrainingSession]]
