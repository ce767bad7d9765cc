"""What a training session writes while it trains, and reads when it resumes: its checkpoint and metrics.jsonl."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from torch import Tensor

from harness.api.metric import Values
from harness.errors import HarnessError
from harness.records.files import append_jsonl, atomic, read_jsonl
from harness.records.signature import digest
from harness.records.states import SessionStatus
from harness.training.checkpoint import DamagedCheckpoint, group, load_checkpoint, prefixed, save_checkpoint
from harness.training.session import TrainingProgress, TrainingSession

# A network file system may show a node an earlier state of a directory, by default for up to 60 seconds (acdirmax).
LOOKS, LOOK_SECONDS = 46, 2.0


def note(session: TrainingSession, epoch: float, train_loss: float | None, values: Values, rung: int | None) -> None:
    """Append a line to metrics.jsonl. Its epoch is a whole number at the end of an epoch, and a fraction within one."""
    if session.metrics_path is None:
        return
    progress = session.progress
    facts = {
        "epoch": epoch, "step": progress.step, "train_loss": train_loss, "val": values,
        "seconds": round(progress.train_seconds + progress.evaluate_seconds, 3),
    }  # fmt: skip
    append_jsonl(session.metrics_path, facts | ({} if rung is None else {"rung": rung}) | session.tag)


def write_checkpoint(session: TrainingSession) -> None:
    """Write the session's checkpoint."""
    assert session.checkpoint_path is not None
    optimizer = {
        f"{index}/{name}": tensor
        for index, state in session.optimizer.state_dict()["state"].items()
        for name, tensor in state.items()
    }
    tensors = (
        prefixed("weights", {name: p.detach() for name, p in session.network.trainable().items()})
        | prefixed("best", session.best_weights)
        | prefixed("optimizer", optimizer)
        | prefixed("hooks", session.hooks.state())
        | prefixed("random", session.random_state.tensors)
        | prefixed("average", {} if session.average is None else session.average.weights)
    )
    if session.best_predictions is not None:
        tensors["predictions"] = session.task.packed(session.best_predictions)
    save_checkpoint(session.checkpoint_path, tensors, {"signature": session.signature} | asdict(session.progress))
    session.saved_at = time.monotonic()


def resume(session: TrainingSession) -> None:
    """Restore the session from its checkpoint, if it has one, and drop metrics recorded after it."""
    loaded = _loaded(session)
    if loaded is not None:
        tensors, state = loaded
        del state["signature"]
        session.progress = TrainingProgress(**state)
        session.progress.resumes += 1
        session.network.put(group("weights", tensors))
        session.best_weights = {name: t.to(session.device) for name, t in group("best", tensors).items()}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for key, tensor in group("optimizer", tensors).items():
            index, name = key.split("/", 1)
            optimizer.setdefault(int(index), {})[name] = tensor
        session.optimizer.load_state_dict(
            {"state": optimizer, "param_groups": session.optimizer.state_dict()["param_groups"]}
        )
        session.hooks.load_state({name: t.to(session.device) for name, t in group("hooks", tensors).items()})
        session.random_state.tensors = group("random", tensors)
        if session.average is not None:
            session.average.weights = {name: t.to(session.device) for name, t in group("average", tensors).items()}
        if "predictions" in tensors:
            session.best_predictions = session.task.unpacked(tensors["predictions"])
        session.say(f"Continuing from step {session.progress.step}.")
        if session.at_limit:
            session.status = SessionStatus.PAUSED
    if session.metrics_path is not None and (lines := read_jsonl(session.metrics_path)):
        # Lines of other folds are kept.
        tag, step = session.tag.items(), session.progress.step
        kept = [line for line in lines if any(line.get(key) != value for key, value in tag) or line["step"] <= step]
        with atomic(session.metrics_path) as temporary:
            temporary.touch()
            for line in kept:
                append_jsonl(temporary, line)


def _loaded(session: TrainingSession) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the checkpoint; return None if there is none. All ranks return the same.

    Raises:
        HarnessError: the ranks do not see the same file, although they have waited for it.
    """
    for attempt in range(LOOKS):
        loaded = None
        if session.checkpoint_path is not None:
            try:
                loaded = load_checkpoint(session.checkpoint_path, session.signature)
            except DamagedCheckpoint as error:
                session.say(f"Warning: {error}; training starts again.")
        # The state of no two checkpoints is the same: it has the seconds so far. 52 bits are exact in a float.
        state = None if loaded is None else int(digest([session.tag, loaded[1]])[:13], 16)
        if len({seen for (seen,) in session.ranks.exchange(-1.0 if state is None else float(state))}) == 1:
            return loaded
        if attempt + 1 < LOOKS:
            time.sleep(LOOK_SECONDS)
    raise HarnessError(
        f"The processes that train this run do not see the same checkpoint, {session.checkpoint_path}: they need one "
        "file system. Correct this, and run the same command again."
    )
