"""Eight members on MiniLM's first blocks and BANKING77, 50 or 100 steps: packed, they end as alone, up to rounding."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.data.examples import Batch, Examples, Rows
from harness.data.tokenization import Tokens
from harness.models.cpu_kernels import use_fast_products
from harness.runs.prepare import PreparedRun
from harness.training.loop import fit, predict
from harness.training.session import TrainingSession
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import spec
from tests.helpers.training_sessions import CPU, Setting, distance, make
from tests.training.fused.test_parity import MIXED

CLASSES, WIDER = 77, 8  # columns of padding
STILL = {"lora_dropout": 0.0}  # padding moves what dropout draws


class Wider(Examples):
    """Rows whose batches have more padding than they need."""

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Pad further."""
        return {name: functional.pad(tensor, (0, WIDER)) for name, tensor in super().batch(rows, device).items()}


class Banking(NamedTuple):
    """MiniLM, and BANKING77's rows: 10 a class to train on, and test rows."""

    backbone: nn.Module
    train: Examples
    test: Examples

    def sessions(
        self, settings: Sequence[Setting], rows: int = 40, kind: type[Examples] = Examples, judged: int = 10
    ) -> list[TrainingSession]:
        """Members with some of the shorter training rows each, by their seeds, and the same rows for validation."""
        made = []
        short = np.argsort(self.train.tokens.lengths, kind="stable")[: len(self.train) // 2]
        for setting in settings:
            drawn = np.random.default_rng(setting.seed).permutation(short)[:rows]
            validation = some(self.test, np.arange(0, 3000, 3000 // judged))
            if setting.train.get("patience"):  # wrong labels: the better it fits, the worse they say it is
                validation = replace(validation, targets=np.roll(validation.targets, 1))
            made.append(make(setting, self.backbone, (some(self.train, drawn, kind), validation), CLASSES))
        return made

    def predictions(self, session: TrainingSession) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Classes that a member predicts for 200 test rows."""
        rows = some(self.test, np.arange(0, 3000, 15))
        found: np.ndarray[tuple[int], np.dtype[np.int64]]
        found = predict(session.network, session.task, rows, session.config, CPU).argmax(axis=1)
        return found


def some(
    examples: Examples,
    rows: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]],
    kind: type[Examples] = Examples,
) -> Examples:
    """Some of the rows."""
    ids = [examples.tokens.ids[examples.tokens.offsets[row] : examples.tokens.offsets[row + 1]] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    return kind(Tokens(np.concatenate(ids), offsets, None, 0), examples.targets[np.asarray(rows)], examples.padding)


@pytest.fixture
def banking(tmp_path: Path, cache: Path, data: Path) -> Banking:
    """In float32, one thread."""
    torch.set_num_threads(1)
    use_fast_products()
    task = {
        "path": str(data / "banking77/train.csv"), "test_path": str(data / "banking77/test.csv"),
        "validation_path": None, "label": "category", "shots": 10,
    }  # fmt: skip
    planned = spec(config(tmp_path, cache, task=task), tmp_path / "run", phase="tune")
    planned.paths.directory.mkdir()
    found = PreparedRun.load(planned, lambda line: None, lambda: None)
    encoder, loaded = found.encoder, found.data
    return Banking(encoder.backbone, encoder.examples(loaded.train), encoder.examples(loaded.test))


@pytest.mark.long  # test_parity.py shows it on a tiny model, with the same members and steps
def test_in_float64_losses_and_weights_are_equal(banking: Banking) -> None:
    """To 1e-9, with dropout; one is pruned midway, one stopped early."""
    banking = banking._replace(backbone=copy.deepcopy(banking.backbone).double())
    packed, solo = banking.sessions(MIXED), banking.sessions(MIXED)
    fit(packed, sharing="always")
    fit(solo)
    for one, alone in zip(packed, solo, strict=True):
        assert one.failure is None and one.largest_group == len(MIXED)
        assert (one.status, one.progress.step) == (alone.status, alone.progress.step)
        assert one.progress.train_loss == pytest.approx(alone.progress.train_loss, abs=1e-9)
        assert distance(one, alone) < 1e-9
    assert packed[3].status == "pruned" and packed[3].progress.step == 50
    assert packed[5].progress.epoch < 10
    assert sum(session.progress.step == 100 for session in packed) >= 4


def test_in_float32_they_differ_by_rounding(banking: Banking) -> None:
    """Losses agree to 1e-4, and 99.9 % of the predictions; dropout is on, and its random streams are equal."""
    packed, solo = banking.sessions(MIXED, rows=20), banking.sessions(MIXED, rows=20)
    fit(packed, sharing="always")
    fit(solo)
    for one, alone in zip(packed, solo, strict=True):
        assert one.largest_group == len(MIXED)
        assert one.progress.train_loss == pytest.approx(alone.progress.train_loss, abs=1e-4)
        assert one.progress.val["loss"] == pytest.approx(alone.progress.val["loss"], abs=1e-4)
        assert torch.equal(one.random_state.tensors["cpu"], alone.random_state.tensors["cpu"])
    equal = [banking.predictions(one) == banking.predictions(alone) for one, alone in zip(packed, solo, strict=True)]
    assert np.mean(equal) >= 0.999


@pytest.mark.long  # the test before bounds losses and predictions, this one the weights
def test_in_float32_they_differ_less_than_padding_makes_a_run_differ(banking: Banking) -> None:
    """Weights lie within three times the distance of a run alone to the same run padded wider."""
    still = [
        replace(setting, adapter=setting.adapter | STILL, train=setting.train | {"dropout": 0.0}) for setting in MIXED
    ]
    packed, solo, wider = (banking.sessions(still, rows=20, kind=kind) for kind in (Examples, Examples, Wider))
    fit(packed, sharing="always")
    fit(solo)
    fit(wider)
    for one, alone, padded in zip(packed, solo, wider, strict=True):
        assert one.largest_group == len(still)
        assert distance(one, alone) <= 3 * distance(padded, alone)


@pytest.mark.long  # test_parity.py shows it on a tiny model; where bf16 is in software, this takes a quarter of an hour
def test_in_bfloat16_they_differ_less_than_seeds_do(banking: Banking) -> None:
    """Loss and accuracy of the same configuration at several seeds, an epoch each."""
    settings = [
        Setting("lora", train={"precision": "bf16", "epochs": 1, "batch_size": 8, "lr": 3e-3}, seed=seed)
        for seed in range(4)
    ]
    packed, solo = (banking.sessions(settings, rows=385, judged=500) for _ in range(2))
    fit(packed, sharing="always")
    fit(solo)
    assert {session.largest_group for session in packed} == {len(settings)}
    for metric in ("loss", "accuracy"):
        ours, alone = ([session.progress.val[metric] for session in each] for each in (packed, solo))
        noise = statistics.stdev(alone)
        assert abs(statistics.mean(ours) - statistics.mean(alone)) <= noise
