"""In float32 a packed run of MiniLM differs from a solo one by no more than rounding does anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.batches import Examples, Rows
from harness.member import Member
from harness.models.classifier import Batch
from harness.train import fit, predict
from tests.packed.members import distance
from tests.test_train import member

WIDER = 8  # columns of padding
KINDS: list[dict[str, Any]] = [
    {"seed": 1, "train__lr": 3e-3, "method__config__r": 4},
    {"seed": 2, "train__lr": 1e-4, "method__config__r": 32, "train__batch_size": 4},
    {"seed": 3, "train__lr": 1e-3, "method__config__r": 16, "train__schedule": "cosine"},
]
STILL = {"train__dropout": 0.0, "method__config__lora_dropout": 0.0}  # padding moves what dropout draws


class Wider(Examples):
    """Rows whose batches have more padding than they need."""

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Pad further."""
        return {name: functional.pad(tensor, (0, WIDER)) for name, tensor in super().batch(rows, device).items()}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def predictions(of: Member) -> np.ndarray[Any, Any]:
    """Classes that a member predicts for its training rows."""
    found: np.ndarray[Any, Any] = predict(of.classifier, of.train, of.config, of.device).argmax(axis=1)
    return found


def test_packed_differs_less_than_padding_makes_a_solo_run_differ(tmp_path: Path, cache: Path) -> None:
    """Weights lie within three times the distance to the same run padded wider; losses and predictions are equal."""
    made = [[member(tmp_path, cache, **kind, **STILL, train__epochs=5) for kind in KINDS] for _ in range(3)]
    packed, solo, wider = made
    for each in wider:
        each.train = Wider(each.train.tokens, each.train.labels, each.train.padding)
    fit(packed, sharing="always")
    fit(solo)
    fit(wider)
    for one, alone, padded in zip(packed, solo, wider, strict=True):
        assert one.pack_size == 3
        assert one.progress.train_loss == pytest.approx(alone.progress.train_loss, abs=1e-4)
        assert distance(one, alone) <= 3 * distance(padded, alone)
        assert np.mean(predictions(one) == predictions(alone)) >= 0.999


def test_dropout_is_that_of_the_solo_run(tmp_path: Path, cache: Path) -> None:
    """With dropout on, losses of every epoch agree to what float32 can tell, and the random streams bit for bit."""
    packed, solo = ([member(tmp_path, cache, **kind) for kind in KINDS] for _ in range(2))
    fit(packed, sharing="always")
    fit(solo)
    for one, alone in zip(packed, solo, strict=True):
        assert one.progress.train_loss == pytest.approx(alone.progress.train_loss, abs=1e-4)
        assert one.progress.val["loss"] == pytest.approx(alone.progress.val["loss"], abs=1e-4)
        assert torch.equal(one.random_state.tensors["cpu"], alone.random_state.tensors["cpu"])
