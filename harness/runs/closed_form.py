"""Runs of methods that fit a head on frozen features by a formula."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from harness.api.metric import Predictions, score
from harness.data.dataset import Split
from harness.errors import HarnessError
from harness.methods import ClosedForm, Head, NeighbourHead
from harness.models.heads import SCALE, KnnHead
from harness.models.network import AdaptedModel
from harness.runs.context import RunContext, mean_values


def run_closed_form(context: RunContext, method: ClosedForm) -> None:
    """Fit and evaluate; the results are stored in `context.result`.

    Raises:
        HarnessError: the model gives no features, or a class has no training row.
    """
    result, data, encoder = context.result, context.data, context.encoder
    if encoder.model.pooling == "model":
        raise HarnessError(
            f"method={method.name} works on pooled vectors, and model.pooling=model gives none. Set model.pooling to "
            "mean, cls or last."
        )
    if context.by_folds:
        heads = [_fit(context, method, split) for split, _ in data.folds]
        folds = [
            context.task.evaluate(held_out.targets, _apply(context, head, held_out))
            for head, (_, held_out) in zip(heads, data.folds, strict=True)
        ]
        head = heads[-1]
        result.metrics["val"] = mean_values(folds)
        result.cost["folds"] = len(folds)
        context.say(f"Mean of {len(folds)} folds: {score(context.metric, result.metrics['val'], 'dev')}")
    if context.evaluated() or not context.by_folds:
        head = _fit(context, method, data.train)
        with result.phase("features"):  # before evaluation, so that no time is counted twice
            for split in context.evaluated().values():
                encoder.features(split)
        context.evaluate(lambda split: _apply(context, head, split))
        network = AdaptedModel(encoder.backbone, encoder.model.pooling, data.outputs)
        network.requires_grad_(False)
        network.head = head_module(head)
        result.network = network.eval()
    head_size = sum(p.numel() for p in head_module(head).parameters())
    result.cost["params_trainable"] = head_size
    result.cost["params_total"] = sum(p.numel() for p in encoder.backbone.parameters()) + head_size
    if seconds := result.cost["train_seconds"]:
        result.cost["samples_per_second"] = result.cost["samples"] / seconds
        result.cost["tokens_per_second"] = result.cost["tokens"] / seconds


def head_module(head: Head) -> nn.Module:
    """Return the head as a module of the network."""
    if isinstance(head, NeighbourHead):
        rows, size = head.bank.shape
        voters = KnnHead(rows, size, head.classes, head.k, head.temperature)
        voters.bank.copy_(torch.tensor(head.bank))  # copied, because cached features are read-only
        voters.labels.copy_(torch.tensor(head.labels))
        return voters
    classes, size = head.weight.shape
    linear = nn.Linear(size, classes).requires_grad_(False)
    linear.weight.copy_(torch.as_tensor(head.weight / SCALE))
    linear.bias.copy_(torch.as_tensor(head.bias))
    return linear


def _fit(context: RunContext, method: ClosedForm, split: Split) -> Head:
    result, task = context.result, context.task
    task.check_closed_form(method.name, split)
    described = task.described()
    with result.phase("features"):
        used = [context.encoder.features(part) for part in (described,) if part is not None]
        descriptions = used[0].values if used else np.zeros((0, 0), dtype=np.float32)
        if method.reads_rows:
            used.append(context.encoder.features(split))
    with result.phase("train"):
        head = method.fit_task(task, used[-1].values, split.targets, descriptions)
    # Features are shared, but each run is charged their full time: a run must not look cheaper because they were
    # cached.
    result.add("train_seconds", sum(features.seconds for features in used))
    result.add("samples", len(split) if method.reads_rows else 0)
    result.add("tokens", len(context.encoder.examples(split).tokens.ids) if method.reads_rows else 0)
    return head


def _apply(context: RunContext, head: Head, split: Split) -> Predictions:
    with context.result.phase("features"):
        features = context.encoder.features(split).values
    if isinstance(head, NeighbourHead):
        return context.task.predictions(head_module(head)(SCALE * torch.tensor(features)).numpy())
    return context.task.predictions(features @ head.weight.T + head.bias)
