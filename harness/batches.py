"""Rows into padded batches: in a shuffled, length-bucketed order for training, by length for everything else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.models.boundary import STATES
from harness.models.classifier import Batch
from harness.record import digest
from harness.tasks.tokens import Tokens

BUCKET = 16  # batches whose rows are sorted by length together: less padding, and still a shuffled order

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Tokenised rows with their labels.

    Attributes:
        tokens: n rows.
        labels: (n,) class indices.
        padding: token id that fills short rows.
        states: (total, d), for each token what the first trained block reads; None: passes begin with the tokens.
    """

    tokens: Tokens
    labels: npt.NDArray[np.int64]
    padding: int
    states: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 of the tokens: hex."""
        content = hashlib.sha256(self.tokens.offsets.tobytes())
        content.update(self.tokens.ids.tobytes())
        if self.tokens.types is not None:
            content.update(self.tokens.types.tobytes())
        return content.hexdigest()

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Pad some rows, on the right, to the longest among them."""
        lengths = self.tokens.lengths[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        taken = np.concatenate([np.arange(self.tokens.offsets[row], self.tokens.offsets[row + 1]) for row in rows])
        ids = np.full(mask.shape, self.padding, dtype=np.int64)
        ids[mask] = self.tokens.ids[taken]
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
        if self.tokens.types is not None:
            types = np.zeros(mask.shape, dtype=np.int64)
            types[mask] = self.tokens.types[taken]
            batch["token_type_ids"] = torch.from_numpy(types)
        if self.states is not None:
            states = np.zeros((*mask.shape, self.states.shape[1]), dtype=np.float32)
            states[mask] = self.states[taken]
            batch[STATES] = torch.from_numpy(states)
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def stream(seed: int, *names: str | int) -> int:
    """Seed of a named stream of a run's randomness: a function of identity, never of history."""
    return int(digest([seed, *names])[:15], 16)


def epoch_order(
    lengths: npt.NDArray[np.int64], batch_size: int, accumulate: int, seed: int, epoch: int
) -> list[list[Rows]]:
    """Order of one epoch: a list a step, of batches whose gradients are accumulated.

    Rows are shuffled, sorted by length within buckets of several steps, cut into steps, and the steps shuffled. A step
    of `accumulate` batches of `batch_size` holds the rows that one batch of their product would hold.

    Args:
        lengths: (n,) tokens a row.
        batch_size: rows a batch.
        accumulate: batches a step.
        seed: of the run.
        epoch: counted from 0.
    """
    generator = np.random.default_rng(stream(seed, "order", epoch))
    order = generator.permutation(len(lengths))
    size = batch_size * accumulate
    steps: list[Rows] = []
    for start in range(0, len(order), BUCKET * size):
        bucket = order[start : start + BUCKET * size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        steps.extend(bucket[first : first + size] for first in range(0, len(bucket), size))
    return [
        [steps[index][first : first + batch_size] for first in range(0, len(steps[index]), batch_size)]
        for index in generator.permutation(len(steps))
    ]


def steps_per_epoch(rows: int, batch_size: int, accumulate: int) -> int:
    """Optimizer steps that one pass over the rows takes."""
    return -(-rows // (batch_size * accumulate))


def over_all(
    function: Callable[[Batch], Tensor], examples: Examples, batch_size: int, device: torch.device, precision: str
) -> npt.NDArray[np.float32]:
    """Apply a network to all rows, without gradients, in batches of similar length.

    Args:
        function: a batch -> (rows, m).
        examples: n rows.
        batch_size: rows a batch.
        device: where the function computes.
        precision: fp32 | bf16 (autocast).

    Returns:
        (n, m) float32, in the order of the rows.
    """
    parts = by_length(examples.tokens.lengths, batch_size)
    # Not inference_mode: some layers keep tables that they make on first use, and training could not use those.
    with torch.no_grad(), autocast(device, precision):
        pieces = [function(examples.batch(rows, device)).float() for rows in parts]
    values = torch.cat(pieces).cpu().numpy()
    result = np.empty_like(values)
    result[np.concatenate(parts)] = values
    return result


def by_length(lengths: npt.NDArray[np.int64], batch_size: int) -> list[Rows]:
    """Cut rows into batches of similar length, the longest first: memory runs out at once or never."""
    order = np.argsort(-lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Compute in bfloat16 where that is asked for and safe."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Class probabilities of logits (n, C)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float32] = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
