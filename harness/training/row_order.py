"""The row order of an epoch: shuffled padded batches, bucketed by length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.data.examples import BUCKET, Rows
from harness.records.signature import digest


def stream_seed(seed: int, *names: str | int) -> int:
    """Return the seed of a named random stream of a run; it depends on the arguments only, not on earlier draws."""
    return int(digest([seed, *names])[:15], 16)


def epoch_order(
    lengths: npt.NDArray[np.int64], batch_size: int, accumulate: int, seed: int, epoch: int
) -> list[list[Rows]]:
    """Return the row order of one epoch: for each step, a list of batches whose gradients are accumulated.

    Rows are shuffled, sorted by length within buckets of several steps and cut into steps, which are then shuffled. A
    step of `accumulate` batches of `batch_size` holds the same rows as one batch of accumulate * batch_size.

    Args:
        lengths: (n,) tokens per row.
        batch_size: rows per batch.
        accumulate: batches per step.
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
    """Return the number of optimizer steps in one pass over the rows."""
    return -(-rows // (batch_size * accumulate))
