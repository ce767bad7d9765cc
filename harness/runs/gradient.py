"""Runs of methods that are trained by the training loop."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.api.heads import LinearHead
from harness.api.metric import Predictions, score
from harness.config.schema import TrainConfig
from harness.data.dataset import Split
from harness.data.examples import Batch, Examples
from harness.errors import HarnessError
from harness.features.encoder import FrozenEncoder
from harness.methods import GradientTrained
from harness.models.frozen_prefix import FrozenPrefix
from harness.models.heads import SCALE
from harness.models.input_limits import longest_input
from harness.models.network import AdaptedModel
from harness.records.files import write_json
from harness.runs.context import RunContext, Stopped, mean_values
from harness.training.fused import share
from harness.training.loop import predict
from harness.training.row_order import steps_per_epoch, stream_seed
from harness.training.session import TrainingProgress, TrainingSession


def run_gradient_trained(context: RunContext, method: GradientTrained) -> Iterator[TrainingSession]:
    """Train and evaluate; the results are stored in `context.result`.

    Yields:
        The sessions to train, one after another; the caller trains each before it resumes this generator.

    Raises:
        Stopped: the run was pruned, or checkpointed to resume later.
        Exception: an error of the training.
    """
    result, data, train = context.result, context.data, context.train
    stop_epoch = train.stop_epoch
    if context.by_folds:
        folds = yield from _folds(context, method)
        result.metrics["val"] = mean_values([fold.best_val for fold in folds])
        # A confirmation trains on all rows, without validation rows to stop early by.
        stop_epoch = statistics.median_high([fold.best_epoch for fold in folds])
        _count(context, folds)
        result.cost |= {"folds": len(folds), "best_epoch": stop_epoch}
        context.say(f"Mean of {len(folds)} folds: {score(context.metric, result.metrics['val'], 'dev')}")
    if context.evaluated() or not context.by_folds:
        config = replace(train, stop_epoch=stop_epoch)
        session = make_session(context, method, config, data.train, data.validation, "all", {})
        yield session
        _ended(context, session)
        _count(context, [session.progress])
        result.cost |= {"best_epoch": session.progress.best_epoch, "epochs": session.progress.epoch}

        boundary = _boundary(session.network, config)
        # Before evaluation, so that no time is counted twice.
        inputs = {
            split.name: session.validation
            if split is data.validation and session.validation is not None  # already charged when the session was made
            else _inputs(context, split, boundary, "evaluate_seconds")
            for split in context.evaluated().values()
        }

        def predictions(split: Split) -> Predictions:
            if split is data.validation and session.best_predictions is not None:
                return session.best_predictions  # computed when the epoch was selected
            return predict(session.network, context.task, inputs[split.name], config, context.device)

        context.evaluate(predictions)
        result.network, result.hooks = session.network, session.hooks


def _folds(context: RunContext, method: GradientTrained) -> Generator[TrainingSession, None, list[TrainingProgress]]:
    """Train on each fold, or reuse the result of an earlier attempt at this run."""
    signature = context.spec.signature
    found = []
    for index, (split, held_out) in enumerate(context.data.folds):
        noted = context.spec.paths.checkpoint / f"fold{index}.json"
        progress = _noted(noted, signature)
        if progress is None:
            context.say(f"Fold {index + 1} of {len(context.data.folds)}")
            tag = {"fold": index}
            session = make_session(context, method, context.train, split, held_out, f"fold{index}", tag)
            yield session
            _ended(context, session)
            progress = session.progress
            del session  # frees its memory before the next fold's session is made
            write_json(noted, {"signature": signature} | asdict(progress))
        found.append(progress)
    return found


def _noted(path: Path, signature: str) -> TrainingProgress | None:
    """Read the stored result of a fold; return None if there is none for this run."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return TrainingProgress(**content) if content.pop("signature") == signature else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_session(
    context: RunContext,
    method: GradientTrained,
    config: TrainConfig,
    split: Split,
    validation: Split | None,
    name: str,
    tag: dict[str, Any],
) -> TrainingSession:
    """Make a training session: a fresh copy of the backbone with a head, adapted by the method.

    Args:
        experiment: the run.
        method: adapts the copy.
        config: training settings.
        split, validation: rows.
        name: of the checkpoint file.
        tag: see `TrainingSession`.
    """
    result, encoder, seed = context.result, context.encoder, context.spec.config["seed"]
    examples = encoder.examples(split)
    head: LinearHead | None = None
    if config.head_init == "probe" and encoder.model.pooling == "model":
        warning = (
            "train.head_init=probe does not apply to model.pooling=model: the architecture's own head starts at random."
        )
        context.say(f"Note: {warning}")
        result.data["warnings"] = [*result.data["warnings"], warning]
    elif config.head_init == "probe":
        with result.phase("head"):
            head = encoder.probe(split, config.head_probe_c)
    with result.phase("model"):
        network = encoder.network()
        if config.dropout is not None:
            network.set_dropout(config.dropout)
        # Seeded here, so that random numbers drawn before, which depend on what a worker has cached, cannot change the
        # weights.
        _seed(stream_seed(seed, "weights"))
        network.reset_head()
        if head is not None:
            network.set_head(head.weight / SCALE, head.bias)
        steps = config.epochs * steps_per_epoch(len(examples), config.batch_size, config.accumulate)
        hooks = method.adapt(network, encoder.model, steps)
        _check_room(network, encoder, method.name)
        network.to(context.device)
        method.initialize(network, _in_order(examples, config.batch_size, context.device))
    boundary = _boundary(network, config)
    examples = _inputs(context, split, boundary, "train_seconds")
    judged = None if validation is None else _inputs(context, validation, boundary, "evaluate_seconds")
    trainable = sum(p.numel() for p in network.trainable().values())
    result.cost |= {
        "params_trainable": trainable,
        "params_total": sum(p.numel() for p in network.parameters()),
    }
    spec, paths = context.spec, context.spec.paths
    session = TrainingSession(
        network=network, task=context.task, hooks=hooks, config=config, train=examples, validation=judged,
        metric=context.metric, seed=seed, device=context.device, say=context.say, metrics_path=paths.metrics,
        checkpoint_path=_checkpoint(paths.checkpoint, name), signature=spec.signature, tag=tag,
        resource=spec.resource, rungs=spec.rungs if tag.get("fold", 0) == 0 else (), until=spec.until,
        stop=context.stop,
    )  # fmt: skip
    share(session, encoder.backbone)
    return session


def _boundary(network: AdaptedModel, config: TrainConfig) -> FrozenPrefix | None:
    """Return the frozen prefix after which passes may begin; None if they begin at the tokens, as with FGM."""
    return None if config.fgm > 0 else network.boundary


def _inputs(context: RunContext, split: Split, boundary: FrozenPrefix | None, cost: str) -> Examples:
    """Return a split's examples. Hidden states are shared, but each run is charged the time to compute them."""
    if boundary is None:
        return context.encoder.examples(split)
    with context.result.phase("features"):
        examples, seconds = context.encoder.inputs(split, boundary)
    context.result.add(cost, seconds)
    if boundary.frozen and examples.states is None:
        context.say(
            f"Note: every pass of {split.name} goes through the {boundary.frozen} frozen blocks, too: the model hands "
            "on more than states from there, or cache_gb leaves no room for them."
        )
    return examples


def _in_order(examples: Examples, size: int, device: torch.device) -> Iterator[Batch]:
    """Yield batches of all rows in order of length."""
    order = np.argsort(examples.tokens.lengths, kind="stable")
    for start in range(0, len(order), size):
        yield examples.batch(order[start : start + size], device)


def _checkpoint(directory: Path, name: str) -> Path:
    return directory / f"{name}.safetensors"


def _ended(context: RunContext, session: TrainingSession) -> None:
    """Record the size of the fused group; raise the error or the stop that ended training early."""
    cost = context.result.cost
    cost["pack_size"] = max(cost.get("pack_size", 1), session.pack_size)
    if (failure := session.failure) is not None:
        session.failure = None
        try:
            raise failure
        finally:
            del failure  # its traceback refers to this frame and the pass, and would keep their memory
    if session.status in ("pruned", "paused", "stopped", "taken"):
        context.result.metrics["val"] = session.progress.best_val
        _count(context, [session.progress])
        raise Stopped(session.status)


def _count(context: RunContext, finished: list[TrainingProgress]) -> None:
    """Add the costs of training."""
    result = context.result
    for progress in finished:
        for name in ("train_seconds", "evaluate_seconds", "samples", "tokens", "resumes"):
            result.add(name, getattr(progress, name))
        result.add("steps", progress.step)
    seconds = result.cost["train_seconds"]
    result.cost["samples_per_second"] = result.cost["samples"] / seconds if seconds else None
    result.cost["tokens_per_second"] = result.cost["tokens"] / seconds if seconds else None


def _seed(seed: int) -> None:
    """Seed every generator that may draw initial weights."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _check_room(network: AdaptedModel, encoder: FrozenEncoder, method: str) -> None:
    """Check that the longest rows fit into the model after the method's virtual tokens."""
    adapters = getattr(network.backbone, "peft_config", {}).values()
    virtual = sum(adapter.num_virtual_tokens for adapter in adapters if adapter.is_prompt_learning)
    longest = longest_input(encoder.backbone, encoder.tokenizer)
    if virtual and encoder.length + virtual > longest:
        raise HarnessError(
            f"method={method} puts {virtual} virtual tokens before texts of up to {encoder.length} tokens, and "
            f"model={encoder.model.name} reads {longest}: set task.max_length={max(longest - virtual, 3)} or less, or "
            "fewer method.config.num_virtual_tokens."
        )
