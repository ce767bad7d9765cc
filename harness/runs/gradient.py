"""Fitting of methods that the training loop trains."""

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

from harness.api.family import families
from harness.api.heads import LinearHead
from harness.api.metric import Predictions, score
from harness.augment.images import versions_of
from harness.config.schema import TrainConfig
from harness.data.dataset import Split
from harness.data.examples import Batch, Examples
from harness.errors import HarnessError
from harness.features.encoder import FrozenEncoder
from harness.methods import GradientTrained
from harness.models.frozen_prefix import FrozenPrefix
from harness.models.heads import SCALE
from harness.models.image_files.image_pooling import reads_pixels
from harness.models.input_limits import longest_input
from harness.models.network import AdaptedModel
from harness.models.pretrained import LANGUAGE, OWN_HEADS
from harness.models.sound_files.sound_pooling import reads_waveforms
from harness.models.vision.centre_points import CentrePointModel
from harness.records.files import write_json
from harness.records.states import SessionStatus
from harness.runs.costs import Costs
from harness.runs.fitted import FittedModel, Fitting, Stopped, mean_values
from harness.runs.prepare import PreparedRun
from harness.serving.start_weights import put_head
from harness.training.fused import share
from harness.training.loop import predict
from harness.training.ranks import current
from harness.training.row_order import steps_per_epoch, stream_seed
from harness.training.session import TrainingProgress, TrainingSession

NEW_HEAD = "train.init was trained for other outputs, such as other classes, so the head is new."
OWN_HEAD = "train.head_init=probe does not apply to model.pooling=model: the architecture's own head starts at random."


def fit_gradient_trained(run: PreparedRun, method: GradientTrained) -> Fitting:
    """Train a network.

    Raises:
        Stopped: the run was pruned, or checkpointed to resume later.
        Exception: an error of the training.
    """
    data, config = run.data, run.train
    costs, validation = Costs(), {}
    warnings: tuple[str, ...] = (
        (OWN_HEAD,) if config.head_init == "probe" and run.encoder.model.pooling == "model" else ()
    )
    if run.encoder.resolved.start is not None and not _same_head(run):
        warnings += (NEW_HEAD,)
    for warning in warnings:
        run.say(f"Note: {warning}")
    if run.by_folds:
        folds, costs = yield from _folds(run, method)
        validation = mean_values([fold.best_val for fold in folds])
        # A confirmation trains on all rows, without validation rows to stop early by.
        config = replace(config, stop_epoch=statistics.median_high([fold.best_epoch for fold in folds]))
        costs |= {"folds": len(folds), "best_epoch": config.stop_epoch}
        run.say(f"Mean of {len(folds)} folds: {score(run.metric, validation, 'dev')}")
    if not run.whole:
        return FittedModel(costs.with_speed(), validation=validation, warnings=warnings)
    session, spent = make_session(run, method, config, data.train, data.validation, "all", {})
    costs = costs.merged(spent)
    yield session
    costs = costs.merged(_ended(session, costs))
    costs |= {"best_epoch": session.progress.best_epoch, "epochs": session.progress.epoch}
    if not session.ranks.leads:
        return FittedModel(costs.with_speed())
    inputs, spent = _evaluated(run, session, config)  # before evaluation, so that no time is counted twice

    def predictions(split: Split) -> Predictions:
        if split is data.validation and session.best_predictions is not None:
            return session.best_predictions  # computed when the epoch was selected
        return predict(session.network, run.task, inputs[split.name], config, run.device)

    costs = costs.merged(spent).with_speed()
    return FittedModel(costs, session.network, session.hooks, predictions, validation, warnings)


def _evaluated(run: PreparedRun, session: TrainingSession, config: TrainConfig) -> tuple[dict[str, Examples], Costs]:
    """Return the inputs for the evaluation of the trained network, and what they took."""
    boundary, inputs, costs = _boundary(session.network, config), {}, Costs()
    for split in run.evaluated().values():
        if split is run.data.validation and session.validation is not None:
            inputs[split.name] = session.validation  # already charged when the session was made
        else:
            inputs[split.name], spent = _inputs(run, split, session.network, boundary, "evaluate_seconds")
            costs = costs.merged(spent)
    return inputs, costs


def _folds(
    run: PreparedRun, method: GradientTrained
) -> Generator[TrainingSession, None, tuple[list[TrainingProgress], Costs]]:
    """Train on each fold, or reuse the result of an earlier attempt at this run."""
    signature = run.spec.signature
    found, costs = [], Costs()
    for index, (split, held_out) in enumerate(run.data.folds):
        noted = run.spec.paths.checkpoint / f"fold{index}.json"
        known = current().from_first(lambda noted=noted: _noted(noted, signature))  # type: ignore[misc]
        progress = None if known is None else TrainingProgress(**known)
        if progress is None:
            run.say(f"Fold {index + 1} of {len(run.data.folds)}")
            session, spent = make_session(run, method, run.train, split, held_out, f"fold{index}", {"fold": index})
            costs = costs.merged(spent)
            yield session
            costs = costs.merged(_ended(session, costs))
            progress = session.progress
            del session  # frees its memory before the next fold's session is made
            if current().leads:
                write_json(noted, {"signature": signature} | asdict(progress))
        else:
            costs = costs.merged(_trained(progress))
        found.append(progress)
    return found, costs


def _noted(path: Path, signature: str) -> dict[str, Any] | None:
    """Read the stored result of a fold, a `TrainingProgress`; return None if there is none for this run."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return asdict(TrainingProgress(**content)) if content.pop("signature") == signature else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_session(
    run: PreparedRun,
    method: GradientTrained,
    config: TrainConfig,
    split: Split,
    validation: Split | None,
    name: str,
    tag: dict[str, Any],
) -> tuple[TrainingSession, Costs]:
    """Make a training session: a fresh copy of the backbone with a head, adapted by the method.

    Args:
        run: the run.
        method: adapts the copy.
        config: training settings.
        split, validation: rows.
        name: of the checkpoint file.
        tag: see `TrainingSession`.

    Returns:
        The session, and what making it took, hidden states included.
    """
    encoder, seed, costs = run.encoder, run.spec.config["seed"], Costs()
    ranks = current()
    examples = encoder.examples(split)
    head: LinearHead | None = None
    known = encoder.resolved.start is not None and _same_head(run)
    if config.head_init == "probe" and has_head(run) and not known:
        with costs.phase("head"):
            head = encoder.probe(split, config.head_probe_c)
    with costs.phase("model"):
        network = encoder.network()
        if config.dropout is not None:
            network.set_dropout(config.dropout)
        # Seeded here, so that random numbers drawn before, which depend on what a worker has cached, cannot change the
        # weights.
        _seed(stream_seed(seed, "weights"))
        network.reset_head()
        if known:
            _put_head(run, network)
        if head is not None:
            network.set_head(head.weight / SCALE, head.bias)
        steps = config.epochs * steps_per_epoch(len(examples), config.batch_size, config.accumulate)
        hooks = method.adapt(network, encoder.model, steps)
        _check_room(network, encoder, method.name)
        network.to(run.device)
        method.initialize(network, _in_order(examples, config.batch_size, run.device))
        ranks.same(network.trainable().values())
    boundary = _boundary(network, config)
    examples, spent = _inputs(run, split, network, boundary, "train_seconds")
    examples = run.task.trained_on(examples, config, encoder.length)
    if run.transforms:
        examples = examples.transformed(run.transforms)
    evaluated, read = (
        (None, Costs()) if validation is None else _inputs(run, validation, network, boundary, "evaluate_seconds")
    )
    costs |= {
        "params_trainable": sum(p.numel() for p in network.trainable().values()),
        "params_total": sum(p.numel() for p in network.parameters()),
    }
    spec, paths = run.spec, run.spec.paths
    session = TrainingSession(
        network=network, task=run.task, hooks=hooks, config=config, train=examples, validation=evaluated,
        metric=run.metric, seed=seed, device=run.device, say=run.say,
        metrics_path=paths.metrics if ranks.leads else None,
        checkpoint_path=_checkpoint(paths.checkpoint, name), signature=spec.signature, tag=tag,
        resource=spec.resource, rungs=spec.rungs if tag.get("fold", 0) == 0 else (), until=spec.until,
        stop=run.stop, alpha=method.alpha, ranks=ranks,
    )  # fmt: skip
    share(session, encoder.backbone)
    return session, costs.merged(spent, read)


def _put_head(run: PreparedRun, network: AdaptedModel) -> bool:
    encoder = run.encoder
    assert encoder.resolved.start is not None
    return put_head(network, encoder.resolved.start, run.task, encoder.model.pooling)


def has_head(run: PreparedRun) -> bool:
    """Return whether networks have a new head on pooled or token vectors, which may start from a probe."""
    return run.encoder.model.pooling not in OWN_HEADS and not families()[run.task.family].retrieves


def _same_head(run: PreparedRun) -> bool:
    """Return whether the head of `train.init` fits, or the model has none of its own to fit."""
    headless = run.encoder.model.pooling == LANGUAGE or families()[run.task.family].retrieves
    return headless or _put_head(run, run.encoder.network())


def _boundary(network: AdaptedModel, config: TrainConfig) -> FrozenPrefix | None:
    """Return the frozen prefix after which passes may begin; None if they begin at the tokens, as with FGM, NEFTune.

    Those of a model that writes texts do: its hidden states are of every token, and writing needs the tokens anyway.
    So do those of images and sounds, whose hidden states take more room than what they are made of.
    """
    whole = network.pooling == LANGUAGE or reads_pixels(network.backbone) or reads_waveforms(network.backbone)
    from_tokens = config.fgm > 0 or config.neftune > 0 or whole
    return None if from_tokens else network.boundary


def _inputs(
    run: PreparedRun, split: Split, network: AdaptedModel, boundary: FrozenPrefix | None, cost: str
) -> tuple[Examples, Costs]:
    """Return a split's examples. Hidden states are shared, but each run is charged the time to compute them."""
    costs = Costs()
    if isinstance(network, CentrePointModel) and not any(p.requires_grad for p in network.trunk_parameters()):
        versions = versions_of(run.transforms) if split.name.startswith("train") else 1
        if versions is None:  # transforms that change more than sides: no two epochs see the same images
            return run.encoder.examples(split), costs
        with costs.phase("features"):
            examples, seconds = run.encoder.maps(split, versions)
        costs.add(cost, seconds)
        return examples, costs
    if boundary is None:
        return run.encoder.examples(split), costs
    with costs.phase("features"):
        examples, seconds = run.encoder.inputs(split, boundary)
    costs.add(cost, seconds)
    if boundary.frozen and examples.states is None:
        run.say(
            f"Note: every pass of {split.name} goes through the {boundary.frozen} frozen blocks, too: the model hands "
            "on more than states from there, or cache_gb leaves no room for them."
        )
    return examples, costs


def _in_order(examples: Examples, size: int, device: torch.device) -> Iterator[Batch]:
    """Yield batches of all rows in order of length."""
    order = np.argsort(examples.tokens.lengths, kind="stable")
    for start in range(0, len(order), size):
        yield examples.batch(order[start : start + size], device)


def _checkpoint(directory: Path, name: str) -> Path:
    return directory / f"{name}.safetensors"


def _ended(session: TrainingSession, before: Costs) -> Costs:
    """Return the costs of a session; raise the error or the stop that ended training early.

    Args:
        session: it is no longer trained.
        before: costs of the run until the session was trained, for `Stopped`.
    """
    costs = _trained(session.progress).merged(Costs(fused_runs=session.largest_group))
    if (failure := session.failure) is not None:
        session.failure = None
        try:
            raise failure
        finally:
            del failure  # its traceback refers to this frame and the pass, and would keep their memory
    if session.status in (SessionStatus.PRUNED, SessionStatus.PAUSED, SessionStatus.STOPPED, SessionStatus.TAKEN):
        raise Stopped(session.status, before.merged(costs).with_speed(), session.progress.best_val)
    return costs


def _trained(progress: TrainingProgress) -> Costs:
    """Return the costs of training."""
    return Costs(
        train_seconds=progress.train_seconds, evaluate_seconds=progress.evaluate_seconds, samples=progress.samples,
        tokens=progress.tokens, resumes=progress.resumes, steps=progress.step,
    )  # fmt: skip


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
