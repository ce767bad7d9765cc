"""One model in training: what it trains on and how, its own optimizer and random stream, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api.metric import Metric, Values
from harness.config.schema import TrainConfig
from harness.data.examples import Examples, Rows
from harness.methods.base import Hooks
from harness.models.classifier import Classifier
from harness.training.optimizer import make_optimizer
from harness.training.regularization import Loss, WeightAverage
from harness.training.row_order import epoch_order, steps_per_epoch, stream_seed


@dataclass
class TrainingProgress:
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
        rung: the last one that was reached; 0 before the first.
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
    rung: int = 0

    def amount(self, resource: str) -> int:
        """How much of a resource was trained with."""
        return {"epochs": self.epoch, "steps": self.step, "examples": self.samples}[resource]


@dataclass(kw_only=True)
class TrainingSession:
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
        resource: what rungs count: epochs | steps | examples (trained on).
        rungs: rising amounts at which the member is judged on the way; that changes nothing of what it computes.
        until: the rung at which it writes a checkpoint and pauses; None for its end.
        tag: keys added to each line in `metrics_path`, such as {fold: 0}.
        stop: looked at after every step: "prune", "checkpoint" or None.
        status: going, then done | failed | pruned | paused (at its limit) | stopped (checkpointed, to go on later) |
            taken (over by another).
        failure: what went wrong.
        progress: how far it is.
        seconds: what its training took in this process, its share of passes that others shared included.
        pack_size: the most members that shared a pass with it, itself included.
        accompanied: whether others were trained beside it.
        shares: whether what it leaves frozen lies in memory once for all members; else it has a backbone of its own.
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
    resource: str = "epochs"
    rungs: Sequence[int] = ()
    until: int | None = None
    stop: Callable[[], str | None] = lambda: None
    status: str = "going"
    failure: Exception | None = None
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    seconds: float = 0.0
    pack_size: int = 1
    accompanied: bool = False
    shares: bool = False

    def __post_init__(self) -> None:
        """Make what belongs to the member alone."""
        self.parameters = list(self.classifier.trainable().values())
        self.optimizer = make_optimizer(self.classifier, self.config, self.hooks)
        self.objective = Loss(self.classifier, self.config, self.hooks, self.device)
        self.average = WeightAverage(self.classifier, self.config.ema, self.hooks) if self.config.ema > 0 else None
        self.total_steps = self.config.epochs * self.steps_per_epoch
        self.random_state = RandomState(stream_seed(self.seed, "dropout"), self.device)
        self.best_weights: dict[str, Tensor] = {}
        self.best_probabilities: npt.NDArray[np.float32] | None = None  # of the validation rows
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

    def reach(self) -> int | None:
        """Take note of the highest rung that was reached since the last; None if none was."""
        amount = self.progress.amount(self.resource)
        new = max((rung for rung in self.rungs if self.progress.rung < rung <= amount), default=None)
        self.progress.rung = new or self.progress.rung
        return new

    @property
    def at_limit(self) -> bool:
        """Whether it has come as far as it may."""
        return self.until is not None and self.progress.rung >= self.until

    def next_rows(self) -> Rows:
        """Rows of the next batch."""
        if not self.order:
            config, lengths = self.config, self.train.tokens.lengths
            self.order = epoch_order(lengths, config.batch_size, config.accumulate, self.seed, self.progress.epoch)
        return self.order[self.progress.position][self.part]

    def next_tokens(self) -> int:
        """Tokens of the next batch, padding not counted."""
        return int(self.train.tokens.lengths[self.next_rows()].sum())


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


@contextmanager
def failing(member: TrainingSession) -> Iterator[None]:
    """Make an exception the failure of this member only, and the time its own."""
    start = time.perf_counter()
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- whatever one member raises, the others go on; the caller reads `failure`
        member.status, member.failure = "failed", error
    finally:
        member.seconds += time.perf_counter() - start


@contextmanager
def timed(progress: TrainingProgress, name: str) -> Iterator[None]:
    """Add the block's seconds to a field."""
    start = time.perf_counter()
    try:
        yield
    finally:
        setattr(progress, name, getattr(progress, name) + time.perf_counter() - start)
