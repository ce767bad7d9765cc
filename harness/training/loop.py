"""The training loop, for K sessions at a time; a single run is K = 1.

Sessions share nothing but the process and possibly one frozen backbone (see harness/training/fused): each has its own
weights, optimizer, schedule, row order, random stream, early stopping and end. So K sessions trained in turns equal K
separate runs, bit for bit on a CPU, and K sessions that share passes equal them up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api.metric import Values, better, evaluate, score
from harness.config.schema import TrainConfig
from harness.data.examples import Examples, Rows
from harness.errors import HarnessError
from harness.models.classifier import Classifier
from harness.models.inference import autocast, predict_all, softmax
from harness.records.files import append_jsonl, atomic, read_jsonl
from harness.training.checkpoint import DamagedCheckpoint, group, load_checkpoint, prefixed, save_checkpoint
from harness.training.fused import FusedGroup, crews
from harness.training.optimizer import rate
from harness.training.session import TrainingProgress, TrainingSession, failing, timed


def fit(
    members: Iterable[TrainingSession],
    interrupted: Callable[[], bool] = lambda: False,
    sharing: str | None = None,
    ended: Callable[[TrainingSession], TrainingSession | None] = lambda member: None,
    neighbours: int = 1,
) -> None:
    """Train sessions in turns, one batch each, until every one is done, failed, pruned or stopped.

    A session that is done holds the weights of its best epoch. One that fails keeps its exception in `failure`; the
    others continue.

    Args:
        members: new sessions; one with a checkpoint resumes from it.
        interrupted: checked after every step; True checkpoints all sessions and stops.
        sharing: which fusable sessions share passes: "always" all of them, "probe" those for which it was measured to
            be faster, None none. Results equal those of training in turns up to rounding.
        ended: called with each session that has ended; returns a session to train in its place, or None. The loop then
            holds no reference to the ended one.
        neighbours: number of co-located processes that share the memory, this one included.
    """
    going: list[TrainingSession] = []
    units: list[FusedGroup | TrainingSession] = []
    arriving = list(members)
    while arriving or going:
        if arriving or not units:
            _begin(arriving)
            going += arriving
            arriving.clear()
            units = _units(going, sharing, neighbours)
        _take_turns(units, interrupted)
        gone = [each for each in going if each.status != "going"]
        if gone:
            going = [each for each in going if each.status == "going"]
            units = []
        while gone:
            if (following := ended(gone.pop(0))) is not None:
                arriving.append(following)


# Separate functions, so that no local variable keeps a finished session alive.


def _begin(arriving: Sequence[TrainingSession]) -> None:
    for member in arriving:
        with failing(member):
            resume(member)
            member.classifier.train()


def _units(
    going: Sequence[TrainingSession], sharing: str | None, neighbours: int
) -> list[FusedGroup | TrainingSession]:
    """Return what takes turns: fused groups, and sessions that compute alone."""
    for member in going:
        member.accompanied |= len(going) > 1
    able = [member for member in going if member.status == "going"]
    return list(able) if sharing is None else crews(able, sharing == "probe", neighbours)


def _take_turns(units: Sequence[FusedGroup | TrainingSession], interrupted: Callable[[], bool]) -> None:
    """Train one batch of each unit."""
    for unit in units:
        for member, loss in gradients(unit):
            with failing(member):
                stepped = advance(member, loss)
                if stepped and member.progress.position == member.steps_per_epoch:
                    finish_epoch(member)
                elif stepped and (rung := member.reach()) is not None:
                    judge(member, rung)
                if stepped and member.status == "going":
                    asked = member.stop()
                    if asked != "taken":
                        asked = "pause" if member.at_limit else "checkpoint" if interrupted() else asked
                    attend(member, asked)


def gradients(unit: FusedGroup | TrainingSession) -> list[tuple[TrainingSession, float]]:
    """Add the gradients of each session's next batch to those it has.

    Returns:
        The sessions that did not fail, each with its batch's mean loss.
    """
    if isinstance(unit, TrainingSession):
        return _alone([unit])
    members = unit.members
    start = unit.clock()
    if not unit.shares:
        found = _alone(members)
        unit.note(False, unit.clock() - start)
        return found
    values = _together(unit)
    if values is None:
        return _alone(members)
    seconds = unit.clock() - start
    for member, share in zip(members, unit.note(True, seconds), strict=True):
        member.progress.train_seconds += seconds * share
        member.seconds += seconds * share
    return list(zip(members, values, strict=True))


def _together(crew: FusedGroup) -> list[float] | None:
    """Add the gradients of each session's batch; return the mean losses, or None if the shared pass failed.

    All memory of the shared pass is freed when this function returns: sessions that then compute alone need it.
    """
    members = crew.members
    streams = [member.random_state.tensors for member in members]
    try:
        losses = crew.losses()
        totals = [_total(member, loss) for member, loss in zip(members, losses, strict=True)]
        values: list[float] = torch.stack([loss.detach() for loss in losses]).tolist()
        if all(map(math.isfinite, (*values, *torch.stack(totals).tolist()))):
            torch.autograd.backward(totals)
            return values
    except Exception as error:  # noqa: BLE001 -- any error: computing each session alone shows which one causes it
        crew.break_up(error)
    for member, tensors in zip(members, streams, strict=True):
        member.random_state.tensors = tensors
        member.optimizer.zero_grad(set_to_none=True)
    return None


def _alone(members: Sequence[TrainingSession]) -> list[tuple[TrainingSession, float]]:
    found = []
    for member in members:
        with failing(member), timed(member.progress, "train_seconds"):
            with member.random_state.active():
                loss = _loss(member, member.next_rows())
            value = float(loss.detach())
            total = _total(member, loss)
            torch.autograd.backward(total)
            if not math.isfinite(value) or not math.isfinite(float(total.detach())):
                raise HarnessError(
                    f"the loss became non-finite at step {member.progress.step + 1} (train.lr={member.config.lr}, "
                    f"train.head_lr={member.config.head_lr}): {_calmer(member.config)}"
                )
            found.append((member, value))
    return found


def _loss(member: TrainingSession, rows: Rows) -> Tensor:
    """Return the mean loss of a batch: the method's own loss, else cross-entropy of the logits."""
    train, device = member.train, member.device
    with autocast(device, member.config.precision):
        own = member.hooks.loss(member.classifier, rows, lambda some: train.batch(some, device), train.labels)
    if own is not None:
        return own
    return member.objective(train.batch(rows, device), torch.from_numpy(train.labels[rows]).to(device))


def _total(member: TrainingSession, loss: Tensor) -> Tensor:
    """Return the batch's contribution to its step: loss and penalty, weighted by its fraction of the step's rows."""
    penalty = member.hooks.penalty()
    batches = member.order[member.progress.position]
    # Each row of a step has the same weight, however the step is split into batches.
    return (loss if penalty is None else loss + penalty) * (len(batches[member.part]) / sum(map(len, batches)))


def _calmer(config: TrainConfig) -> str:
    """Suggest settings that may keep training finite, except those already set."""
    ways = ["lower rates", *(["train.clip=1"] if not config.clip else [])]
    ways += ["train.precision=fp32"] if config.precision != "fp32" else []
    return f"try {' or '.join(ways)}."


def advance(member: TrainingSession, loss: float) -> bool:
    """Count a batch whose gradients are computed; after the last batch of a step, update. Return whether it updated.

    Args:
        member: the session.
        loss: mean over the batch's rows.
    """
    progress, config = member.progress, member.config
    batches = member.order[progress.position]
    rows = len(batches[member.part])
    with timed(progress, "train_seconds"):
        progress.loss_sum += loss * rows
        progress.rows += rows
        progress.samples += rows
        progress.tokens += member.next_tokens()
        member.part += 1
        if member.part < len(batches):
            return False
        member.hooks.before_update(progress.step)
        if config.clip > 0:
            torch.nn.utils.clip_grad_norm_(member.parameters, config.clip)
        factor = rate(progress.step, member.total_steps, config.warmup, config.schedule)
        for parameters in member.optimizer.param_groups:
            parameters["lr"] = parameters["peak"] * factor
        member.optimizer.step()
        member.hooks.after_step(progress.step)
        if member.average is not None:
            member.average.update(progress.step)
        member.optimizer.zero_grad(set_to_none=True)
    progress.step += 1
    progress.position += 1
    member.part = 0
    return True


def finish_epoch(member: TrainingSession) -> None:
    """Evaluate, print and record the epoch and keep the best weights; end training after the last epoch."""
    progress = member.progress
    progress.epoch += 1
    progress.train_loss = progress.loss_sum / progress.rows
    progress.position, progress.loss_sum, progress.rows = 0, 0.0, 0
    member.order = []
    line = f"Epoch {progress.epoch}, train loss: {progress.train_loss:.3f}"
    improved, probabilities = True, None
    with nullcontext() if member.average is None else member.average.in_place():
        with timed(progress, "train_seconds"), member.random_state.active():
            member.hooks.end_epoch(member.classifier, lambda: features(member), member.train.labels)
        if member.validation is not None:
            probabilities, progress.val = validate(member, member.validation)
            line += f", dev loss: {progress.val['loss']:.3f}, {score(member.metric, progress.val, 'dev')}"
            improved = progress.best_epoch == 0 or better(member.metric, progress.val, progress.best_val)
        if improved:
            progress.best_epoch, progress.best_val = progress.epoch, progress.val
            member.best_probabilities = probabilities
            if member.validation is not None or member.average is not None:
                member.best_weights = {name: p.detach().clone() for name, p in member.classifier.trainable().items()}
    member.say(line)
    note(member, progress.epoch, progress.train_loss, progress.val, member.reach())
    stale = progress.epoch - progress.best_epoch
    if progress.epoch >= member.last_epoch or 0 < member.config.patience <= stale:
        member.classifier.put(member.best_weights)
        member.classifier.eval()
        member.status = "done"


def judge(member: TrainingSession, rung: int) -> None:
    """Evaluate at a rung within an epoch, so that trials can be compared; weights and random streams do not change."""
    if member.validation is None:
        return
    progress = member.progress
    with nullcontext() if member.average is None else member.average.in_place():
        _, values = validate(member, member.validation)
    epoch = round(progress.epoch + progress.position / member.steps_per_epoch, 6)
    note(member, epoch, progress.loss_sum / progress.rows, values, rung)


def validate(member: TrainingSession, validation: Examples) -> tuple[npt.NDArray[np.float32], Values]:
    """Return class probabilities (n, C) of the validation rows and their metrics.

    Raises:
        HarnessError: the outputs are not finite.
    """
    progress = member.progress
    with timed(progress, "evaluate_seconds"):
        probabilities = predict(member.classifier, validation, member.config, member.device)
        values = evaluate(validation.labels, probabilities)
    if values["loss"] is None:
        raise HarnessError(
            f"the outputs became non-finite by step {progress.step} (train.lr={member.config.lr}, "
            f"train.head_lr={member.config.head_lr}): {_calmer(member.config)}"
        )
    return probabilities, values


def note(member: TrainingSession, epoch: float, train_loss: float | None, values: Values, rung: int | None) -> None:
    """Append a line to metrics.jsonl. Its epoch is a whole number at the end of an epoch, and a fraction within one."""
    if member.metrics_path is None:
        return
    progress = member.progress
    facts = {
        "epoch": epoch, "step": progress.step, "train_loss": train_loss, "val": values,
        "seconds": round(progress.train_seconds + progress.evaluate_seconds, 3),
    }  # fmt: skip
    append_jsonl(member.metrics_path, facts | ({} if rung is None else {"rung": rung}) | member.tag)


def attend(member: TrainingSession, request: str | None) -> None:
    """Handle a request between two steps, and write a checkpoint when one is due."""
    if request in ("prune", "taken"):
        member.status = "pruned" if request == "prune" else "taken"
        return
    due = time.monotonic() - member.saved_at >= member.config.checkpoint_seconds
    if member.checkpoint_path is not None and (due or request in ("checkpoint", "pause")):
        optimizer = {
            f"{index}/{name}": tensor
            for index, state in member.optimizer.state_dict()["state"].items()
            for name, tensor in state.items()
        }
        tensors = (
            prefixed("weights", {name: p.detach() for name, p in member.classifier.trainable().items()})
            | prefixed("best", member.best_weights)
            | prefixed("optimizer", optimizer)
            | prefixed("hooks", member.hooks.state())
            | prefixed("random", member.random_state.tensors)
            | prefixed("average", {} if member.average is None else member.average.weights)
        )
        if member.best_probabilities is not None:
            tensors["probabilities"] = torch.from_numpy(member.best_probabilities)
        save_checkpoint(member.checkpoint_path, tensors, {"signature": member.signature} | asdict(member.progress))
        member.saved_at = time.monotonic()
    if request in ("checkpoint", "pause"):
        member.status = "stopped" if request == "checkpoint" else "paused"


def resume(member: TrainingSession) -> None:
    """Restore the session from its checkpoint, if it has one, and drop metrics recorded after it."""
    loaded = None
    if member.checkpoint_path is not None:
        try:
            loaded = load_checkpoint(member.checkpoint_path, member.signature)
        except DamagedCheckpoint as error:
            member.say(f"Warning: {error}; training starts anew.")
    if loaded is not None:
        tensors, state = loaded
        del state["signature"]
        member.progress = TrainingProgress(**state)
        member.progress.resumes += 1
        member.classifier.put(group("weights", tensors))
        member.best_weights = {name: t.to(member.device) for name, t in group("best", tensors).items()}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for key, tensor in group("optimizer", tensors).items():
            index, name = key.split("/", 1)
            optimizer.setdefault(int(index), {})[name] = tensor
        member.optimizer.load_state_dict(
            {"state": optimizer, "param_groups": member.optimizer.state_dict()["param_groups"]}
        )
        member.hooks.load_state({name: t.to(member.device) for name, t in group("hooks", tensors).items()})
        member.random_state.tensors = group("random", tensors)
        if member.average is not None:
            member.average.weights = {name: t.to(member.device) for name, t in group("average", tensors).items()}
        if "probabilities" in tensors:
            member.best_probabilities = tensors["probabilities"].numpy()
        member.say(f"Going on from step {member.progress.step}.")
        if member.at_limit:
            member.status = "paused"
    if member.metrics_path is not None and (lines := read_jsonl(member.metrics_path)):
        # Lines of other folds are kept.
        ours = [all(line.get(key) == value for key, value in member.tag.items()) for line in lines]
        kept = [line for line, own in zip(lines, ours, strict=True) if not own or line["step"] <= member.progress.step]
        with atomic(member.metrics_path) as temporary:
            temporary.touch()
            for line in kept:
                append_jsonl(temporary, line)


def predict(
    classifier: Classifier, examples: Examples, config: TrainConfig, device: torch.device
) -> npt.NDArray[np.float32]:
    """Return class probabilities (n, C) float32 of all rows; the classifier's mode is restored."""
    training = classifier.training
    classifier.eval()
    logits = predict_all(classifier, examples, config.eval_batch_size, device, config.precision)
    classifier.train(training)
    return softmax(logits)


def features(member: TrainingSession) -> npt.NDArray[np.float32]:
    """Return L2-normalized features (n, d) of the training rows in the current model; its mode is restored."""
    classifier, config = member.classifier, member.config
    training = classifier.training
    classifier.eval()
    found = predict_all(classifier.features, member.train, config.eval_batch_size, member.device, config.precision)
    classifier.train(training)
    return found
