"""Gradual unfreezing: who has joined at which step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.methods.gradual_unfreezing import GradualUnfreezing
from harness.training.loop import fit
from tests.helpers import networks
from tests.training.test_loop import same, session, weights

BLOCKS = 6  # of MiniLM
STEPS = 8  # of two epochs on the small data set


def part(name: str) -> int:
    """0 for the head, 1 for the last block, ... 6 for the first one, 7 for what lies below."""
    if name.startswith("head."):
        return 0
    pieces = name.split(".")
    return BLOCKS - int(pieces[3]) if pieces[1] == "encoder" else BLOCKS + 1


def test_blocks_join_from_the_head_down(tmp_path: Path, cache: Path) -> None:
    """The head moves from the first step, each block from its own on, embeddings last; decay moves none before."""
    training = session(tmp_path, cache, "gradual_unfreezing", backbone=None, train__warmup=0.0, method__share=0.75)
    assert training.total_steps == STEPS
    before, moved = weights(training), list[set[int]]()

    def look() -> None:
        now = training.network.trainable()
        # The pooler is not used, and never has a gradient.
        moved.append({part(name) for name, old in before.items() if not torch.equal(now[name], old)})

    training.stop = look
    fit([training])
    # Block i of 6 joins after i / 6 of 75 % of 8 steps: at step i; the embeddings with the last of them.
    expected = [
        set(range(min(step, BLOCKS) + 1)) | ({BLOCKS + 1} if step >= BLOCKS else set()) for step in range(STEPS)
    ]
    assert moved[: STEPS - 1] == expected[: STEPS - 1]  # after the last step the best epoch's weights are back


def test_with_all_joined_at_once_it_is_full_fine_tuning(tmp_path: Path, cache: Path) -> None:
    """With a share so small that it is no step, it ends as method=full does, bit for bit."""
    full = session(tmp_path, cache, "full", train__lr=1e-4)
    gradual = session(tmp_path, cache, "gradual_unfreezing", train__lr=1e-4, method__share=0.01)
    fit([full, gradual])
    assert same(weights(full), weights(gradual))


def test_share_must_be_one() -> None:
    """A share outside (0, 1] is told; the blocks of an architecture's own head are found."""
    for share in (0.0, 1.5):
        with pytest.raises(HarnessError, match=r"method\.share is a share of the run"):
            GradualUnfreezing(name="gradual_unfreezing", share=share)
    network = networks.network("bert-base", pooling="model")
    GradualUnfreezing(name="gradual_unfreezing").adapt(network, networks.model(pooling="model"), 10)
    assert len(network.trainable()) == sum(1 for _ in network.parameters())
