"""Rows into padded batches: in a shuffled, length-bucketed order for training, by length for everything else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.data.examples import BUCKET, Rows
from harness.records.signature import digest


def stream_seed(seed: int, *names: str | int) -> int:
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
    generator = np.random.default_rng(stream_seed(seed, "order", epoch))
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
