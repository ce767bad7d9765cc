"""Fitting of methods that compute a head on frozen features, a scorer of items or an index of passages by a formula."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.api.metric import Predictions, score
from harness.data.dataset import Split
from harness.errors import HarnessError
from harness.methods import ClosedForm, Head, NeighbourHead, Recommender, Retriever
from harness.models.heads import SCALE, KnnHead
from harness.models.network import AdaptedModel
from harness.models.retrieval.retrieval_network import RetrievalNetwork
from harness.runs.costs import Costs
from harness.runs.fitted import FittedModel, Fitting, mean_values
from harness.runs.prepare import PreparedRun

Features = npt.NDArray[np.float32]


def fit_closed_form(run: PreparedRun, method: ClosedForm) -> Fitting:
    """Fit a head; yields no session.

    Raises:
        HarnessError: the model gives no features, or the training rows do not suffice for the method.
    """
    yield from ()
    data, encoder = run.data, run.encoder
    if encoder.model.pooling == "model":
        raise HarnessError(
            f"method={method.name} works on pooled vectors, and model.pooling=model has none. Set model.pooling to "
            "mean, cls or last."
        )
    costs, validation, head, network = Costs(), {}, None, None
    if run.by_folds:
        values = []
        for split, held_out in data.folds:
            head, spent = _fit(run, method, split)
            features, read = _features(run, held_out)
            costs = costs.merged(spent, read)
            values.append(run.task.evaluate(held_out.targets, _apply(run, head, features, held_out)))
        validation = mean_values(values)
        costs["folds"] = len(values)
        run.say(f"Mean of {len(values)} folds: {score(run.metric, validation, 'dev')}")
    if run.whole:
        head, spent = _fit(run, method, data.train)
        costs = costs.merged(spent)
        network = run.task.network(encoder.backbone, encoder.model.pooling)
        network.requires_grad_(False)
        network.head = head_module(head)
        network = network.eval()
    assert head is not None  # there are folds, or the whole training rows
    inputs = {}
    for split in run.evaluated().values() if run.whole else ():
        inputs[split.name], read = _features(run, split)  # before evaluation, so that no time is counted twice
        costs = costs.merged(read)
    size = sum(p.numel() for p in head_module(head).parameters())
    whole = size + sum(p.numel() for p in encoder.backbone.parameters())
    costs |= {"params_trainable": size, "params_total": whole}

    def predict(split: Split) -> Predictions:
        return _apply(run, head, inputs[split.name], split)

    return FittedModel(
        costs.with_speed(), network, predict=predict if run.whole else None, validation=validation,
        features=lambda split: encoder.features(split).values,
    )  # fmt: skip


def fit_recommender(run: PreparedRun, method: Recommender) -> Fitting:
    """Fit a scorer to the histories of training; yields no session.

    Raises:
        HarnessError: there are too many items for the method.
    """
    yield from ()
    costs = Costs()
    with costs.phase("train"):
        network = fitted_network(run, method)
    tokens = run.encoder.examples(run.data.train).tokens
    size = sum(p.numel() for p in network.parameters())
    costs |= {"params_trainable": size, "params_total": size, "samples": len(tokens), "tokens": len(tokens.ids)}

    def predict(split: Split) -> Predictions:
        config = run.train
        return run.task.predict(
            network, run.encoder.examples(split), config.eval_batch_size, run.device, config.precision
        )

    return FittedModel(costs.with_speed(), network, predict=predict)


def fitted_network(run: PreparedRun, method: Recommender) -> AdaptedModel:
    """Return the network with a fitted scorer, on the run's device, in eval mode."""
    tokens = run.encoder.examples(run.data.train).tokens
    histories = np.split(np.asarray(tokens.ids, dtype=np.int64), tokens.offsets[1:-1])
    network = run.task.network(run.encoder.backbone, run.encoder.model.pooling)
    network.head = method.fit(histories, run.data.outputs)
    return network.requires_grad_(False).to(run.device).eval()


def fit_retriever(run: PreparedRun, method: Retriever) -> Fitting:
    """Index the collection; yields no session."""
    yield from ()
    costs, validation = Costs(), {}
    with costs.phase("train"):
        network, seconds = indexed_network(run, method)
    costs.add("train_seconds", seconds)  # of vectors that are shared, as in `_fit`
    whole = sum(p.numel() for p in network.parameters())
    costs |= {"params_trainable": 0, "params_total": whole, "samples": 0, "tokens": 0}

    def predict(split: Split) -> Predictions:
        config = run.train
        return run.task.predict(
            network, run.encoder.examples(split), config.eval_batch_size, run.device, config.precision
        )

    if run.by_folds:
        values = []
        for _, held_out in run.data.folds:  # nothing is learned from the others
            with costs.phase("evaluate"):
                values.append(run.task.evaluate(held_out.targets, predict(held_out)))
        validation = mean_values(values)
        costs["folds"] = len(values)
        run.say(f"Mean of {len(values)} folds: {score(run.metric, validation, 'dev')}")
    return FittedModel(costs.with_speed(), network, predict=predict if run.whole else None, validation=validation)


def indexed_network(run: PreparedRun, method: Retriever) -> tuple[RetrievalNetwork, float]:
    """Return the network with an index, on the run's device, in eval mode.

    Returns:
        The network, and the seconds by which vectors took longer when they were computed than to find them cached.
    """
    network, collection = run.encoder.network_as_loaded(), run.task.collection()
    assert isinstance(network, RetrievalNetwork) and collection is not None
    saved = [0.0]

    def vectors() -> Features:
        started = time.perf_counter()
        found = run.encoder.features(collection)
        values = found.values
        saved[0] += max(found.seconds - (time.perf_counter() - started), 0.0)
        return values

    network.put_index(method.index(collection.texts, vectors))
    return network.to(run.device).eval(), saved[0]


def head_module(head: Head) -> nn.Module:
    """Return the head as a module of the network."""
    if isinstance(head, NeighbourHead):
        rows, size = head.bank.shape
        voters = KnnHead(rows, size, head.classes, head.k, head.temperature)
        voters.bank.copy_(torch.tensor(head.bank))  # copied, because cached features are read-only
        voters.labels.copy_(torch.tensor(head.labels))
        return voters
    outputs, size = head.weight.shape
    linear = nn.Linear(size, outputs).requires_grad_(False)
    linear.weight.copy_(torch.as_tensor(head.weight / SCALE))
    linear.bias.copy_(torch.as_tensor(head.bias))
    return linear


def _fit(run: PreparedRun, method: ClosedForm, split: Split) -> tuple[Head, Costs]:
    task, costs = run.task, Costs()
    task.check_closed_form(method.name, split)
    described = task.described()
    with costs.phase("features"):
        used = [run.encoder.features(part) for part in (described,) if part is not None]
        descriptions = used[0].values if used else np.zeros((task.outputs, 0), dtype=np.float32)
        if method.reads_rows:
            used.append(run.encoder.features(split))
    with costs.phase("train"):
        head = method.fit_task(task, used[-1].values, split.targets, descriptions)
    # Features are shared, but each run is charged their full time: a run must not look cheaper because they were
    # cached.
    costs.add("train_seconds", sum(features.seconds for features in used))
    costs["samples"] = len(split) if method.reads_rows else 0
    costs["tokens"] = len(run.encoder.examples(split).tokens.ids) if method.reads_rows else 0
    return head, costs


def _features(run: PreparedRun, split: Split) -> tuple[Features, Costs]:
    costs = Costs()
    with costs.phase("features"):
        return run.encoder.features(split).values, costs


def _apply(run: PreparedRun, head: Head, features: Features, split: Split) -> Predictions:
    if isinstance(head, NeighbourHead):
        outputs = head_module(head)(SCALE * torch.tensor(features)).numpy()
    else:
        outputs = features @ head.weight.T + head.bias
    return run.task.joined(outputs, run.encoder.examples(split))
