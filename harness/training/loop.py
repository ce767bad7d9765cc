"""The training loop, for K sessions at a time; a single run is K = 1.

Sessions share nothing but the process and possibly one frozen backbone (see harness/training/fused): each has its own
weights, optimizer, schedule, row order, random stream, early stopping and end. So K sessions trained in turns equal K
separate runs, bit for bit on a CPU, and K sessions that share passes equal them up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api.metric import Predictions, Values, better, score
from harness.config.schema import TrainConfig
from harness.data.examples import Examples, Rows
from harness.errors import HarnessError
from harness.methods.base import Hooks
from harness.models.inference import autocast, predict_all
from harness.models.network import AdaptedModel
from harness.records.states import SessionStatus, StopRequest
from harness.tasks.runtime import TaskRuntime
from harness.training.fused import FusedGroup, fused_groups
from harness.training.optimizer import rate
from harness.training.session import TrainingSession, failing, timed
from harness.training.session_files import note, resume, write_checkpoint


def fit(
    sessions: Iterable[TrainingSession],
    interrupted: Callable[[], bool] = lambda: False,
    sharing: str | None = None,
    ended: Callable[[TrainingSession], TrainingSession | None] = lambda session: None,
    co_located: int = 1,
) -> None:
    """Train sessions in turns, one batch each, until every one is done, failed, pruned or stopped.

    A session that is done holds the weights of its best epoch. One that fails keeps its exception in `failure`; the
    others continue.

    Args:
        sessions: new sessions; one with a checkpoint resumes from it.
        interrupted: checked after every step; True checkpoints all sessions and stops.
        sharing: which fusable sessions share passes: "always" all of them, "probe" those for which it was measured to
            be faster, None none. Results equal those of training in turns up to rounding.
        ended: called with each session that has ended; returns a session to train in its place, or None. The loop then
            holds no reference to the ended one.
        co_located: number of co-located processes that share the memory, this one included.
    """
    going: list[TrainingSession] = []
    units: list[FusedGroup | TrainingSession] = []
    arriving = list(sessions)
    while arriving or going:
        if arriving or not units:
            _begin(arriving)
            going += arriving
            arriving.clear()
            units = _units(going, sharing, co_located)
        _take_turns(units, interrupted)
        gone = [each for each in going if each.status != SessionStatus.GOING]
        if gone:
            going = [each for each in going if each.status == SessionStatus.GOING]
            units = []
        while gone:
            if (following := ended(gone.pop(0))) is not None:
                arriving.append(following)


# Separate functions, so that no local variable keeps a finished session alive.


def _begin(arriving: Sequence[TrainingSession]) -> None:
    for session in arriving:
        with failing(session):
            resume(session)
            session.network.train()


def _units(
    going: Sequence[TrainingSession], sharing: str | None, co_located: int
) -> list[FusedGroup | TrainingSession]:
    """Return what takes turns: fused groups, and sessions that compute alone."""
    for session in going:
        session.accompanied |= len(going) > 1
    able = [session for session in going if session.status == SessionStatus.GOING]
    return list(able) if sharing is None else fused_groups(able, sharing == "probe", co_located)


def _take_turns(units: Sequence[FusedGroup | TrainingSession], interrupted: Callable[[], bool]) -> None:
    """Train one batch of each unit."""
    for unit in units:
        for session, loss in gradients(unit):
            with failing(session):
                stepped = advance(session, loss)
                if stepped and session.progress.position == session.steps_per_epoch:
                    finish_epoch(session)
                elif stepped and (rung := session.reach()) is not None:
                    evaluate_at_rung(session, rung)
                if stepped and session.status == SessionStatus.GOING:
                    attend(session, _request(session, interrupted()))


def gradients(unit: FusedGroup | TrainingSession) -> list[tuple[TrainingSession, float]]:
    """Add the gradients of each session's next batch to those it has.

    Returns:
        The sessions that did not fail, each with its batch's mean loss.
    """
    if isinstance(unit, TrainingSession):
        return _alone([unit])
    sessions = unit.sessions
    start = unit.clock()
    if not unit.shares:
        found = _alone(sessions)
        unit.note(False, unit.clock() - start)
        return found
    values = _shared_losses(unit)
    if values is None:
        return _alone(sessions)
    seconds = unit.clock() - start
    for session, share in zip(sessions, unit.note(True, seconds), strict=True):
        session.progress.train_seconds += seconds * share
        session.seconds += seconds * share
    return list(zip(sessions, values, strict=True))


def _shared_losses(fused: FusedGroup) -> list[float] | None:
    """Add the gradients of each session's batch; return the mean losses, or None if the shared pass failed.

    All memory of the shared pass is freed when this function returns: sessions that then compute alone need it.
    """
    sessions = fused.sessions
    states = [session.part_state() for session in sessions]
    try:
        losses = fused.losses()
        totals = [_total(session, loss) for session, loss in zip(sessions, losses, strict=True)]
        values: list[float] = torch.stack([loss.detach() for loss in losses]).tolist()
        if all(map(math.isfinite, (*values, *torch.stack(totals).tolist()))):
            torch.autograd.backward(totals)
            return values
    except Exception as error:  # noqa: BLE001 -- any error: computing each session alone shows which one causes it
        fused.ungroup(error)
    for session, state in zip(sessions, states, strict=True):
        session.restore_part(*state)
    return None


def _alone(sessions: Sequence[TrainingSession]) -> list[tuple[TrainingSession, float]]:
    found = []
    for session in sessions:
        with failing(session), timed(session.progress, "train_seconds"):
            rows = session.next_share()
            value = _backward(session, rows) if len(rows) else _passed_over(session)
            if session.ranks.several:
                weight = session.train.weight(rows) if len(rows) else 0
                heard = session.ranks.exchange(value * weight, weight)
                value = sum(each[0] for each in heard) / max(sum(each[1] for each in heard), 1)
            found.append((session, value))
    return found


def _passed_over(session: TrainingSession) -> float:
    """Draw the random transforms of a batch of which this rank has no rows, so that all ranks draw the next alike."""
    if session.train.rowwise and type(session.hooks).loss is Hooks.loss:
        session.next_batch()
    return 0.0


def _backward(session: TrainingSession, rows: Rows) -> float:
    """Add the gradients of the given rows of the next batch; return their mean loss.

    Raises:
        HarnessError: it is not finite.
    """
    with session.random():
        loss = _loss(session, rows)
    value = float(loss.detach())
    total = _total(session, loss, rows)
    torch.autograd.backward(total)
    if not math.isfinite(value) or not math.isfinite(float(total.detach())):
        raise HarnessError(
            f"the loss became non-finite at step {session.progress.step + 1} (train.lr={session.config.lr}, "
            f"train.head_lr={session.config.head_lr}): {_stability_advice(session.config)}"
        )
    return value


def _loss(session: TrainingSession, rows: Rows) -> Tensor:
    """Return the mean loss of rows of the next batch: the method's own loss, else that of the task."""
    train, device = session.train, session.device
    with autocast(device, session.config.precision):
        own = session.hooks.loss(session.network, rows, lambda some: train.batch(some, device), train.targets)
    return session.objective(*session.next_batch()) if own is None else own


def _total(session: TrainingSession, loss: Tensor, rows: Rows | None = None) -> Tensor:
    """Return the part in their step of some rows of the next batch, or of all of it.

    It is loss and penalty, by the rows' share of the step's weight (`Examples.weight`).
    """
    penalty = session.hooks.penalty()
    batches = session.order[session.progress.position]
    own = session.train.weight(batches[session.part] if rows is None else rows)
    weight = sum(session.train.weight(batch) for batch in batches)
    return (loss if penalty is None else loss + penalty) * (own / max(weight, 1))


def _stability_advice(config: TrainConfig) -> str:
    """Suggest settings that may keep training finite, except those already set."""
    ways = ["lower rates", *(["train.clip=1"] if not config.clip else [])]
    ways += ["train.precision=fp32"] if config.precision != "fp32" else []
    return f"try {' or '.join(ways)}."


def advance(session: TrainingSession, loss: float) -> bool:
    """Count a batch whose gradients are computed; after the last batch of a step, update. Return whether it updated.

    Args:
        session: the session.
        loss: mean over the batch's rows.
    """
    progress, config = session.progress, session.config
    batches = session.order[progress.position]
    with timed(progress, "train_seconds"):
        weight = session.train.weight(batches[session.part])
        progress.loss_sum += loss * weight
        progress.rows += weight
        progress.samples += len(batches[session.part])
        progress.tokens += session.next_tokens()
        session.part += 1
        if session.part < len(batches):
            return False
        session.ranks.sum_gradients(session.parameters)
        session.hooks.before_update(progress.step)
        if config.clip > 0:
            torch.nn.utils.clip_grad_norm_(session.parameters, config.clip)
        factor = rate(progress.step, session.total_steps, config.warmup, config.schedule)
        for parameters in session.optimizer.param_groups:
            parameters["lr"] = parameters["peak"] * factor
        session.optimizer.step()
        session.hooks.after_step(progress.step)
        if session.average is not None:
            session.average.update(progress.step)
        session.optimizer.zero_grad(set_to_none=True)
    progress.step += 1
    progress.position += 1
    session.part = 0
    return True


def finish_epoch(session: TrainingSession) -> None:
    """Evaluate, print and record the epoch and keep the best weights; end training after the last epoch."""
    progress = session.progress
    progress.epoch += 1
    progress.train_loss = progress.loss_sum / max(progress.rows, 1)
    progress.position, progress.loss_sum, progress.rows = 0, 0.0, 0
    session.order = []
    line = f"Epoch {progress.epoch}, train loss: {progress.train_loss:.3f}"
    improved, predictions = True, None
    with session.judged_weights():
        with timed(progress, "train_seconds"), session.random_state.active():
            session.hooks.end_epoch(session.network, lambda: features(session), session.train.targets)
            if type(session.hooks).end_epoch is not Hooks.end_epoch:
                session.ranks.same(session.parameters)  # each rank computed them, on its own device
        if session.validation is not None:
            predictions, progress.val = _validated(session, session.validation)
            line += f", dev loss: {progress.val['loss']:.3f}, {score(session.metric, progress.val, 'dev')}"
            improved = progress.best_epoch == 0 or better(session.metric, progress.val, progress.best_val)
        if improved:
            progress.best_epoch, progress.best_val = progress.epoch, progress.val
            session.best_predictions = predictions
            if session.validation is not None or session.average is not None or session.interpolation is not None:
                session.best_weights = {name: p.detach().clone() for name, p in session.network.trainable().items()}
    session.say(line)
    note(session, progress.epoch, progress.train_loss, progress.val, session.reach())
    stale = progress.epoch - progress.best_epoch
    if progress.epoch >= session.last_epoch or 0 < session.config.patience <= stale:
        session.network.put(session.best_weights)
        session.network.eval()
        session.status = SessionStatus.DONE


def evaluate_at_rung(session: TrainingSession, rung: int) -> None:
    """Evaluate at a rung within an epoch, so that trials can be compared; weights and random streams do not change."""
    if session.validation is None:
        return
    progress = session.progress
    with session.judged_weights():
        _, values = _validated(session, session.validation)
    epoch = round(progress.epoch + progress.position / session.steps_per_epoch, 6)
    note(session, epoch, progress.loss_sum / max(progress.rows, 1), values, rung)


def _validated(session: TrainingSession, validation: Examples) -> tuple[Predictions | None, Values]:
    """Return what `validate` does; on ranks other than the first, the metrics alone."""
    predictions: list[Predictions] = []

    def values() -> Values:
        predicted, found = validate(session, validation)
        predictions.append(predicted)
        return found

    found = session.ranks.from_first(values)
    return predictions[0] if predictions else None, found


def validate(session: TrainingSession, validation: Examples) -> tuple[Predictions, Values]:
    """Return predictions of the n validation rows and their metrics.

    Raises:
        HarnessError: the outputs are not finite.
    """
    progress = session.progress
    with timed(progress, "evaluate_seconds"):
        predictions = predict(session.network, session.task, validation, session.config, session.device)
        values = session.task.evaluate(validation.targets, predictions)
    if values["loss"] is None:
        raise HarnessError(
            f"the outputs became non-finite by step {progress.step} (train.lr={session.config.lr}, "
            f"train.head_lr={session.config.head_lr}): {_stability_advice(session.config)}"
        )
    return predictions, values


def _request(session: TrainingSession, interrupted: bool) -> StopRequest | None:
    """Return how a session is asked to end after a step; None if it goes on."""
    request = session.stop()
    request = StopRequest.CHECKPOINT if interrupted and request != StopRequest.TAKEN else request
    # Each rank hears of signals and files at a moment of its own; all do what the strongest request says.
    request = _REQUESTS[int(max(place for (place,) in session.ranks.exchange(float(_REQUESTS.index(request)))))]
    return StopRequest.PAUSE if session.at_limit and request != StopRequest.TAKEN else request


# From the weakest to the strongest.
_REQUESTS = (None, StopRequest.PAUSE, StopRequest.CHECKPOINT, StopRequest.PRUNE, StopRequest.TAKEN)


def attend(session: TrainingSession, request: StopRequest | None) -> None:
    """Handle a request between two steps, and write a checkpoint when one is due."""
    if request in (StopRequest.PRUNE, StopRequest.TAKEN):
        session.status = SessionStatus.PRUNED if request == StopRequest.PRUNE else SessionStatus.TAKEN
        return
    due = time.monotonic() - session.saved_at >= session.config.checkpoint_seconds
    due |= request in (StopRequest.CHECKPOINT, StopRequest.PAUSE)
    if session.checkpoint_path is not None and due and session.ranks.leads:
        write_checkpoint(session)
    if request in (StopRequest.CHECKPOINT, StopRequest.PAUSE):
        session.ranks.exchange()  # the others stay until it is written, to hear of an error
        session.status = SessionStatus.STOPPED if request == StopRequest.CHECKPOINT else SessionStatus.PAUSED


def predict(
    network: AdaptedModel, task: TaskRuntime, examples: Examples, config: TrainConfig, device: torch.device
) -> Predictions:
    """Return predictions for all n rows; the network's mode is restored."""
    training = network.training
    network.eval()
    found = task.predict(network, examples, config.eval_batch_size, device, config.precision)
    network.train(training)
    return found


def features(session: TrainingSession) -> npt.NDArray[np.float32]:
    """Return L2-normalized features (n, d) of the training rows in the current model; its mode is restored."""
    network, config = session.network, session.config
    training = network.training
    network.eval()
    found = predict_all(network.features, session.train, config.eval_batch_size, session.device, config.precision)
    network.train(training)
    return found
