"""One training loop, read top to bottom, for K members; a solo run is K = 1.

Members share nothing but the process: each has its own model, optimizer, schedule, order of rows, random stream, early
stop and end. So K members trained in turns equal K solo runs, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.batches import Examples, Rows, autocast, epoch_order, over_all, steps_per_epoch, stream
from harness.checkpoint import DamagedCheckpoint, group, load_checkpoint, prefixed, save_checkpoint
from harness.config import TrainConfig
from harness.errors import HarnessError
from harness.methods.base import Hooks
from harness.metrics import Metric, evaluate
from harness.models.classifier import Classifier
from harness.record import append_jsonl, atomic, read_jsonl

Values = dict[str, float | None]


@dataclass
class Progress:
    """How far a member is: JSON-able, and part of its checkpoint.

    Attributes:
        epoch: finished epochs.
        position: steps done in the present epoch.
        step: optimizer steps done.
        loss_sum, rows: of the present epoch's training loss.
        train_loss: mean of the last finished epoch.
        val: validation metrics of the last finished epoch.
        best_epoch: the best epoch so far, counted from 1; 0 before there is one.
        best_val: its validation metrics.
        samples, tokens: trained on, padding not counted.
        train_seconds, evaluate_seconds: net, over all attempts.
        resumes: how often training went on from a checkpoint.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rows: int = 0
    train_loss: float | None = None
    val: Values = field(default_factory=dict)
    best_epoch: int = 0
    best_val: Values = field(default_factory=dict)
    samples: int = 0
    tokens: int = 0
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    resumes: int = 0


@dataclass(kw_only=True)
class Member:
    """One model in training.

    Attributes:
        classifier: adapted by its method, on `device`.
        hooks: what the method asks of the loop.
        config: how it is trained.
        train: rows to train on.
        validation: rows that choose the epoch; None keeps the last one.
        metric: what chooses; of equals the one with the lower loss.
        seed: of the run.
        device: where the classifier is.
        say: takes the line that each epoch prints.
        metrics_path: takes a JSON line an epoch; None writes none.
        checkpoint_path: None writes none.
        signature: ties a checkpoint to what is computed.
        tag: keys added to each line in `metrics_path`, such as {fold: 0}.
        stop: looked at after every step: "prune", "checkpoint" or None.
        status: going, then done | failed | pruned | stopped (checkpointed, to go on later).
        failure: what went wrong.
        progress: how far it is.
    """

    classifier: Classifier
    hooks: Hooks
    config: TrainConfig
    train: Examples
    validation: Examples | None
    metric: Metric
    seed: int
    device: torch.device
    say: Callable[[str], None]
    metrics_path: Path | None = None
    checkpoint_path: Path | None = None
    signature: str = ""
    tag: dict[str, Any] = field(default_factory=dict)
    stop: Callable[[], str | None] = lambda: None
    status: str = "going"
    failure: Exception | None = None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        """Make what belongs to the member alone."""
        self.optimizer = make_optimizer(self.classifier, self.config)
        self.total_steps = self.config.epochs * self.steps_per_epoch
        self.random_state = RandomState(stream(self.seed, "dropout"), self.device)
        self.best_weights: dict[str, Tensor] = {}
        self.order: list[list[Rows]] = []  # the present epoch's
        self.part = 0  # batches of the present step that are done
        self.saved_at = time.monotonic()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch."""
        return steps_per_epoch(len(self.train), self.config.batch_size, self.config.accumulate)

    @property
    def last_epoch(self) -> int:
        """Number of epochs that are trained unless patience ends first."""
        return min(self.config.epochs, self.config.stop_epoch or self.config.epochs)

    def next_rows(self) -> Rows:
        """Rows of the next batch."""
        if not self.order:
            config, lengths = self.config, self.train.tokens.lengths
            self.order = epoch_order(lengths, config.batch_size, config.accumulate, self.seed, self.progress.epoch)
        return self.order[self.progress.position][self.part]


class RandomState:
    """A member's own stream of random numbers: torch's generators are swapped while the member computes."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.cuda = device if device.type == "cuda" else None
        with torch.random.fork_rng([device] if self.cuda else []):
            torch.manual_seed(seed)
            self.tensors = self._get()

    def _get(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        return state | {"cuda": torch.cuda.get_rng_state(self.cuda)} if self.cuda else state

    def _set(self, tensors: dict[str, Tensor]) -> None:
        torch.set_rng_state(tensors["cpu"])
        if self.cuda and "cuda" in tensors:
            torch.cuda.set_rng_state(tensors["cuda"], self.cuda)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream within the block."""
        outside = self._get()
        self._set(self.tensors)
        try:
            yield
        finally:
            self.tensors = self._get()
            self._set(outside)


def fit(members: list[Member], interrupted: Callable[[], bool] = lambda: False) -> None:
    """Train members in turns, a batch each, until every one of them is done, failed, pruned or stopped.

    A member that is done holds the weights of its best epoch. One that fails keeps its exception in `failure`; the
    others go on.

    Args:
        members: each at its beginning; one with a checkpoint goes on from there.
        interrupted: looked at after every step; True checkpoints all members and stops.
    """
    for member in members:
        with failing(member):
            resume(member)
            member.classifier.train()
    while going := [member for member in members if member.status == "going"]:
        for member, loss in zip(going, forward(going), strict=True):
            if loss is None:
                continue
            with failing(member):
                stepped = backward(member, loss)
                if stepped and member.progress.position == member.steps_per_epoch:
                    finish_epoch(member)
                if stepped and member.status == "going":
                    attend(member, "checkpoint" if interrupted() else member.stop())


def forward(members: list[Member]) -> list[Tensor | None]:
    """Mean loss of each member's next batch; None for a member that failed.

    Members are independent, so this is the one place where a packed forward over a shared backbone would go.
    """
    losses: list[Tensor | None] = []
    for member in members:
        losses.append(None)
        with failing(member), timed(member.progress, "train_seconds"), member.random_state.active():
            rows = member.next_rows()
            batch = member.train.batch(rows, member.device)
            labels = torch.from_numpy(member.train.labels[rows]).to(member.device)
            with autocast(member.device, member.config.precision):
                logits = member.classifier(batch)
            losses[-1] = functional.cross_entropy(logits, labels, label_smoothing=member.config.label_smoothing)
    return losses


def backward(member: Member, loss: Tensor) -> bool:
    """Accumulate one batch's gradients; after the last batch of a step, take it. Return whether it was taken."""
    progress, config = member.progress, member.config
    batches = member.order[progress.position]
    rows = len(batches[member.part])
    with timed(progress, "train_seconds"):
        value = float(loss.detach())
        penalty = member.hooks.penalty()
        total = loss if penalty is None else loss + penalty
        # Each row of a step weighs the same, however the step is cut into batches.
        torch.autograd.backward(total * (rows / sum(map(len, batches))))
        if not math.isfinite(value) or (penalty is not None and not math.isfinite(float(penalty.detach()))):
            raise HarnessError(
                f"the loss became non-finite at step {progress.step + 1} (train.lr={config.lr}, "
                f"train.head_lr={config.head_lr}): try lower rates, train.clip above 0, or train.precision=fp32."
            )
        progress.loss_sum += value * rows
        progress.rows += rows
        progress.samples += rows
        progress.tokens += int(member.train.tokens.lengths[batches[member.part]].sum())
        member.part += 1
        if member.part < len(batches):
            return False
        if config.clip > 0:
            torch.nn.utils.clip_grad_norm_(member.classifier.trainable().values(), config.clip)
        factor = rate(progress.step, member.total_steps, config.warmup, config.schedule)
        for parameters in member.optimizer.param_groups:
            parameters["lr"] = parameters["peak"] * factor
        member.optimizer.step()
        member.hooks.after_step(progress.step)
        member.optimizer.zero_grad(set_to_none=True)
    progress.step += 1
    progress.position += 1
    member.part = 0
    return True


def finish_epoch(member: Member) -> None:
    """Evaluate, print, note, keep the best weights; end the training if this was the last epoch."""
    progress = member.progress
    progress.epoch += 1
    progress.train_loss = progress.loss_sum / progress.rows
    progress.position, progress.loss_sum, progress.rows = 0, 0.0, 0
    member.order = []
    line = f"Epoch {progress.epoch}, train loss: {progress.train_loss:.3f}"
    improved = True
    if member.validation is not None:
        with timed(progress, "evaluate_seconds"):
            probabilities = predict(member.classifier, member.validation, member.config, member.device)
            progress.val = evaluate(member.validation.labels, probabilities)
        if progress.val["loss"] is None:
            raise HarnessError(
                f"the outputs became non-finite by step {progress.step} (train.lr={member.config.lr}, "
                f"train.head_lr={member.config.head_lr}): try lower rates, or train.precision=fp32."
            )
        line += f", dev loss: {progress.val['loss']:.3f}, {score(member.metric, progress.val, 'dev')}"
        improved = progress.best_epoch == 0 or better(member.metric, progress.val, progress.best_val)
    if improved:
        progress.best_epoch, progress.best_val = progress.epoch, progress.val
        if member.validation is not None:
            member.best_weights = {name: p.detach().clone() for name, p in member.classifier.trainable().items()}
    member.say(line)
    if member.metrics_path is not None:
        seconds = round(progress.train_seconds + progress.evaluate_seconds, 3)
        facts = {"epoch": progress.epoch, "step": progress.step, "train_loss": progress.train_loss, "val": progress.val}
        append_jsonl(member.metrics_path, facts | {"seconds": seconds} | member.tag)
    stale = progress.epoch - progress.best_epoch
    if progress.epoch >= member.last_epoch or 0 < member.config.patience <= stale:
        restore(member.classifier, member.best_weights)
        member.classifier.eval()
        member.status = "done"


def attend(member: Member, request: str | None) -> None:
    """Do what is asked between two steps, and checkpoint when it is time."""
    if request == "prune":
        member.status = "pruned"
        return
    due = time.monotonic() - member.saved_at >= member.config.checkpoint_seconds
    if member.checkpoint_path is not None and (due or request == "checkpoint"):
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
        )
        save_checkpoint(member.checkpoint_path, tensors, {"signature": member.signature} | asdict(member.progress))
        member.saved_at = time.monotonic()
    if request == "checkpoint":
        member.status = "stopped"


def resume(member: Member) -> None:
    """Go on from the member's checkpoint if it has one, and forget what was noted after it."""
    loaded = None
    if member.checkpoint_path is not None:
        try:
            loaded = load_checkpoint(member.checkpoint_path, member.signature)
        except DamagedCheckpoint as error:
            member.say(f"Warning: {error}; training starts anew.")
    if loaded is not None:
        tensors, state = loaded
        del state["signature"]
        member.progress = Progress(**state)
        member.progress.resumes += 1
        restore(member.classifier, group("weights", tensors))
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
        member.say(f"Going on from step {member.progress.step}.")
    if member.metrics_path is not None and (lines := read_jsonl(member.metrics_path)):
        # Lines of other folds stay.
        ours = [all(line.get(key) == value for key, value in member.tag.items()) for line in lines]
        kept = [
            line for line, own in zip(lines, ours, strict=True) if not own or line["epoch"] <= member.progress.epoch
        ]
        with atomic(member.metrics_path) as temporary:
            temporary.touch()
            for line in kept:
                append_jsonl(temporary, line)


def make_optimizer(classifier: Classifier, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters: the head at its own rate, no decay on biases and norms."""
    head = {name for name, _ in classifier.head_parameters()}
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in classifier.trainable().items():
        peak = config.head_lr if name in head else config.lr
        # Biases, norms and scaling vectors are the parameters of one dimension.
        decay = config.weight_decay if max(parameter.shape, default=1) < parameter.numel() else 0.0
        groups.setdefault((peak, decay), []).append(parameter)
    listed = [{"params": ps, "lr": peak, "peak": peak, "weight_decay": decay} for (peak, decay), ps in groups.items()]
    return torch.optim.AdamW(listed, fused=True)


def rate(step: int, total: int, warmup: float, schedule: str) -> float:
    """Share of the peak rate at a step (from 0) of `total`: a linear rise, then the schedule's fall to 0 at the end."""
    rising = int(warmup * total)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(total - rising, 1)
    if schedule == "linear":
        return 1.0 - done
    return 0.5 * (1.0 + math.cos(math.pi * done)) if schedule == "cosine" else 1.0


def predict(classifier: Classifier, examples: Examples, config: TrainConfig, device: torch.device) -> Any:
    """Class probabilities (n, C) float32 of all rows; the classifier keeps its mode."""
    training = classifier.training
    classifier.eval()
    logits = over_all(classifier, examples, config.eval_batch_size, device, config.precision)
    classifier.train(training)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def better(metric: Metric, values: Values, than: Values) -> bool:
    """Whether an epoch is better than another: by the metric, of equals by the lower loss. No value is worst."""
    new, old = values[metric.name], than[metric.name]
    if new != old:
        return old is None or (new is not None and metric.better(new, old))
    losses = values["loss"], than["loss"]
    return losses[0] is not None and (losses[1] is None or losses[0] < losses[1])


def score(metric: Metric, values: Values, split: str) -> str:
    """`dev acc: 0.871`."""
    value = values[metric.name]
    return f"{split} {metric.short}: {'undefined' if value is None else f'{value:.3f}'}"


def restore(classifier: Classifier, weights: dict[str, Tensor]) -> None:
    """Put weights, by name, into a classifier."""
    parameters = dict(classifier.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(tensor)


@contextmanager
def failing(member: Member) -> Iterator[None]:
    """Make an exception the failure of this member only."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- whatever one member raises, the others go on; the caller reads `failure`
        member.status, member.failure = "failed", error


@contextmanager
def timed(progress: Progress, name: str) -> Iterator[None]:
    """Add the block's seconds to a field."""
    start = time.perf_counter()
    try:
        yield
    finally:
        setattr(progress, name, getattr(progress, name) + time.perf_counter() - start)
