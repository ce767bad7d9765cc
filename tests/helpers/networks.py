"""Classifiers on the tiny models, without files, also with an architecture's own head; and steps of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.data.examples import Batch
from harness.methods import Hooks
from harness.methods.base import Labels
from harness.models import PretrainedModel
from harness.models.network import AdaptedModel
from tests.helpers.tiny_models import TINY, VOCABULARY

LAYERS = 2


def model(pooling: str = "mean") -> PretrainedModel:
    """What a method is told of a model."""
    return PretrainedModel(name="tiny", path="unused", pooling=pooling)


def network(name: str, pooling: str = "mean") -> AdaptedModel:
    """Three classes on random weights, in eval mode; the same at every call."""
    import transformers as hf

    torch.manual_seed(0)
    kind, settings = TINY[name]
    config: Any = hf.AutoConfig.for_model(kind, **settings)
    backbone: nn.Module
    if pooling == "model":
        config.num_labels = 3
        backbone = hf.AutoModelForSequenceClassification.from_config(config)
    else:
        backbone = hf.T5EncoderModel(config) if kind == "t5" else hf.AutoModel.from_config(config)
    made = AdaptedModel(backbone, pooling, 3)
    made.reset_head()
    return made.eval()


def batch(rows: int = 6, length: int = 7) -> Batch:
    """Random token ids; the later rows are shorter."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[rows // 2 :, length - 2 :] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def train(
    network: AdaptedModel,
    hooks: Hooks,
    optimizer: torch.optim.Optimizer,
    batch: Callable[[Any], Batch],
    labels: Labels,
    steps: int,
) -> list[float]:
    """Take steps on all rows at once, as the loop does but for its schedule; give the losses before each."""
    rows, losses = np.arange(len(labels)), []
    for step in range(steps):
        loss = hooks.loss(network, rows, batch, labels)
        if loss is None:
            loss = functional.cross_entropy(network(batch(rows)), torch.from_numpy(labels))
        losses.append(float(loss.detach()))
        penalty = hooks.penalty()
        torch.autograd.backward(loss if penalty is None else loss + penalty)
        hooks.before_update(step)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
    return losses
