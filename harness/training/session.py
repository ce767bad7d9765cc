"""Training sessions: the state of one training, with its own data, settings, optimizer, random stream and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.api.metric import Metric, Predictions, Values
from harness.config.schema import TrainConfig
from harness.data.examples import Batch, Examples, Rows
from harness.methods.base import Hooks
from harness.models.network import AdaptedModel
from harness.records.states import SessionStatus, StopRequest
from harness.tasks.runtime import TaskRuntime
from harness.training.interpolation import Interpolation
from harness.training.masks import MaskStream
from harness.training.optimizer import make_optimizer
from harness.training.ranks import ALONE, Ranks
from harness.training.regularization import Loss, WeightAverage
from harness.training.row_order import epoch_order, steps_per_epoch, stream_seed


@dataclass
class TrainingProgress:
    """The progress of a session; JSON-serializable, part of its checkpoint.

    Attributes:
        epoch: finished epochs.
        position: steps done in the current epoch.
        step: optimizer steps done.
        loss_sum, rows: of the current epoch's training loss; rows by their weight (`Examples.weight`).
        train_loss: mean of the last finished epoch.
        val: validation metrics of the last finished epoch.
        best_epoch: the best epoch so far, counted from 1; 0 before there is one.
        best_val: validation metrics of the best epoch.
        samples, tokens: number trained on, without padding.
        train_seconds, evaluate_seconds: computing time, over all attempts.
        resumes: number of times that training resumed from a checkpoint.
        rung: the last rung reached; 0 before the first.
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
        """Return how much of a resource was used for training."""
        return {"epochs": self.epoch, "steps": self.step, "examples": self.samples}[resource]


@dataclass(kw_only=True)
class TrainingSession:
    """One model in training.

    Attributes:
        network: adapted by its method, on `device`.
        task: the family of the task: loss, predictions, metrics.
        hooks: of the method.
        config: training settings.
        train: training rows.
        validation: rows that select the epoch; None selects the last epoch.
        metric: selects the best epoch; the lower loss breaks ties.
        seed: of the run.
        device: where the network is.
        say: called with the line printed for each epoch.
        metrics_path: file that gets a JSON line per epoch; None writes none.
        checkpoint_path: checkpoint file; None writes none.
        signature: of the run; a checkpoint with another signature is not used.
        resource: unit of the rungs: epochs | steps | examples (trained on).
        rungs: increasing amounts of training at which the session is evaluated; this does not change its results.
        until: the rung at which it writes a checkpoint and pauses; None trains to the end.
        tag: keys added to each line in `metrics_path`, such as {fold: 0}.
        stop: checked after every step: returns how the run is asked to end, or None.
        status: going, then done | failed | pruned | paused (at its limit) | stopped (checkpointed, to resume later) |
            taken (over by another process).
        failure: the exception of a failed session.
        progress: its progress.
        seconds: training time in this process, including its fraction of shared passes.
        largest_group: largest number of sessions in a shared pass with this one, itself included.
        accompanied: whether other sessions were trained at the same time.
        shares: whether its frozen tensors are shared with the pretrained backbone; else it has a backbone of its own.
        alpha: see `harness.methods.GradientTrained`.
        ranks: that train it together, each a share of every batch; all but rank 0 have no `metrics_path`.
    """

    network: AdaptedModel
    task: TaskRuntime
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
    stop: Callable[[], StopRequest | None] = lambda: None
    status: SessionStatus = SessionStatus.GOING
    failure: Exception | None = None
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    seconds: float = 0.0
    largest_group: int = 1
    accompanied: bool = False
    shares: bool = False
    alpha: float = 1.0
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        """Make the optimizer, loss, weight average and random stream."""
        self.parameters = list(self.network.trainable().values())
        self.optimizer = make_optimizer(self.network, self.config, self.hooks)
        self.objective = Loss(self.network, self.task, self.config, self.hooks, self.device)
        self.average = WeightAverage(self.network, self.config.ema, self.hooks) if self.config.ema > 0 else None
        self.interpolation = None if self.alpha == 1 else Interpolation(self.network, self.hooks, self.alpha)
        self.total_steps = self.config.epochs * self.steps_per_epoch
        self.random_state = RandomState(stream_seed(self.seed, "dropout"), self.device)
        lanes = self.config.dropout_masks == "lanes" and self.device.type == "cpu"
        self.masks = MaskStream(self.seed) if lanes else None  # None: PyTorch's dropout draws from `random_state`
        self.best_weights: dict[str, Tensor] = {}
        self.best_predictions: Predictions | None = None  # of the validation rows, in the best epoch
        self.order: list[list[Rows]] = []  # of the current epoch
        self.part = 0  # finished batches of the current step
        self.saved_at = time.monotonic()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""
        return steps_per_epoch(len(self.train), self.config.batch_size, self.config.accumulate)

    @property
    def last_epoch(self) -> int:
        """Number of epochs that are trained unless patience ends training earlier."""
        return min(self.config.epochs, self.config.stop_epoch or self.config.epochs)

    @contextmanager
    def judged_weights(self) -> Iterator[None]:
        """Put the weights that are evaluated and saved into the network within the block: averaged, interpolated."""
        with (
            nullcontext() if self.average is None else self.average.in_place(),
            nullcontext() if self.interpolation is None else self.interpolation.in_place(),
        ):
            yield

    @contextmanager
    def random(self) -> Iterator[None]:
        """Draw the random numbers of the next batch within the block.

        With several ranks, those of a pass are each rank's own, and `random_state` stays the same on all: they follow
        from seed, step and rank, so a checkpoint need not hold them, and the number of ranks may change.
        """
        step, part, state, place = self.progress.step, self.part, self.random_state, None
        if self.ranks.several:
            rows = len(self.next_rows())
            place = (self.ranks.share(rows), rows)
            state = RandomState(stream_seed(self.seed, "dropout", step, part, self.ranks.rank), self.device)
        masks = nullcontext() if self.masks is None else self.masks.drawing(step, part, place)
        with state.active(), masks:
            yield

    def reach(self) -> int | None:
        """Record and return the highest rung reached since the last call; None if there is none."""
        amount = self.progress.amount(self.resource)
        new = max((rung for rung in self.rungs if self.progress.rung < rung <= amount), default=None)
        self.progress.rung = new or self.progress.rung
        return new

    def part_state(self) -> tuple[dict[str, Tensor], list[Tensor | None]]:
        """Return the random stream, and copies of the gradients that the step's earlier batches have left."""
        earlier = self.parameters if self.part else []
        return self.random_state.tensors, [None if p.grad is None else p.grad.clone() for p in earlier]

    def restore_part(self, stream: dict[str, Tensor], gradients: list[Tensor | None]) -> None:
        """Restore what `part_state` returned: a pass that failed may have added to it."""
        self.random_state.tensors = stream
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=False):
            parameter.grad = gradient

    @property
    def at_limit(self) -> bool:
        """True if the rung `until` is reached."""
        return self.until is not None and self.progress.rung >= self.until

    def next_rows(self) -> Rows:
        """Return the rows of the next batch."""
        if not self.order:
            config, lengths = self.config, self.train.tokens.lengths
            self.order = epoch_order(lengths, config.batch_size, config.accumulate, self.seed, self.progress.epoch)
        return self.order[self.progress.position][self.part]

    def next_share(self) -> Rows:
        """Return this rank's rows of the next batch: all of them, if there is one rank."""
        rows = self.next_rows()
        return rows[self.ranks.share(len(rows))]

    def next_batch(self) -> tuple[Batch, Tensor]:
        """Return the next batch, or this rank's share of it, and its targets.

        Where the tensors have a row for each row of the batch, padding and random transforms are those of the whole
        batch, so that all ranks together compute what one would. Else they are the share's, and each rank draws its own
        transforms: from seed, step and rank, so that `random_state` stays the same on all.
        """
        rows, train = self.next_rows(), self.train
        targets = self.task.targets(train.targets[rows])
        if not self.ranks.several:
            return train.training_batch(rows, self.device, targets)
        part = self.ranks.share(len(rows))
        if train.rowwise:
            with self.random_state.active():
                batch, targets = train.training_batch(rows, self.device, targets)
                return {name: tensor[part] for name, tensor in batch.items()}, targets[part]
        seed = stream_seed(self.seed, "transforms", self.progress.step, self.part, self.ranks.rank)
        with RandomState(seed, self.device).active():
            return train.training_batch(rows[part], self.device, self.task.targets(train.targets[rows[part]]))

    def next_tokens(self) -> int:
        """Return the number of tokens in the next batch, without padding."""
        return int(self.train.tokens.lengths[self.next_rows()].sum())


class RandomState:
    """A session's own random stream: the state of torch's generators is swapped in while the session computes."""

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
def failing(session: TrainingSession) -> Iterator[None]:
    """Record an exception in the block as the session's failure, and add the block's time to the session."""
    start = time.perf_counter()
    try:
        with session.ranks.telling():
            yield
    except Exception as error:  # noqa: BLE001 -- the other sessions continue; the caller reads `failure`
        session.status, session.failure = SessionStatus.FAILED, error
    finally:
        session.seconds += time.perf_counter() - start


@contextmanager
def timed(progress: TrainingProgress, name: str) -> Iterator[None]:
    """Add the block's seconds to a field."""
    start = time.perf_counter()
    try:
        yield
    finally:
        setattr(progress, name, getattr(progress, name) + time.perf_counter() - start)
