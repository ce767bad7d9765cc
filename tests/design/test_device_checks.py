"""What cannot use several devices a run is told before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from harness.design.cells import Cell
from harness.design.device_checks import check_methods, notes
from harness.errors import Problems
from tests.design.test_value_checks import PLAN, assert_told

Main = Callable[..., tuple[int, str]]


def test_what_cannot_be_divided_is_told_at_once(main: Main, place: Path) -> None:
    """Numbers that do not divide, and settings, models and methods of one device: a sentence each."""
    printed = assert_told(
        main, place, "-m", "method=linear_probe", *PLAN, "launch.devices_per_run=3", "slurm.nodes_per_run=2",
        "launch.fuse=4", "launch.workers_per_gpu=2", "train.batch_size=2", "launch.kind=inline",
    )  # fmt: skip
    for words in (
        "slurm.nodes_per_run=2 does not divide launch.devices_per_run=3",
        "slurm.nodes_per_run=2 is for jobs of a cluster, and launch.kind=inline",
        "Set train.batch_size=3 or more",
        "launch.kind=inline is one process",
        "launch.fuse=4 fuses runs on one device",
        "launch.workers_per_gpu=2 lets runs share a GPU",
        "method=linear_probe trains nothing by gradients",
    ):
        assert words in printed, words
    printed = assert_told(
        main, place, "-m", "method=lora", *PLAN, "launch.devices_per_run=2", "model.quantize=int8",
        "train.batch_size=choice(1,8)",
    )  # fmt: skip
    assert "model.quantize=int8 loads a base that is trained on one device" in printed
    assert "leaves devices without a row of train.batch_size=1" in printed
    printed = assert_told(main, place, "-m", "task=demo_retrieval", "method=lora", *PLAN, "launch.devices_per_run=2")
    assert "task=demo_retrieval: the passages of a batch are each other's negatives" in printed
    assert "launch.devices_per_run=1000 takes 1000" in assert_told(
        main, place, "-m", "method=lora", *PLAN, "launch.devices_per_run=1000", "train.batch_size=1000", "device=cpu"
    )


def test_methods_without_training_use_one_of_the_devices(
    main: Main, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside methods that train, and the plan says so; and which shares are unequal."""
    monkeypatch.setattr("harness.launch.devices.usable_cores", lambda: 2)
    code, printed = main(
        "-m", "method=linear_probe,lora", *PLAN, "launch.devices_per_run=2", "launch.workers=1", "device=cpu",
        "train.batch_size=range(8,64)",
    )  # fmt: skip
    assert code == 0, printed
    assert "method=linear_probe trains nothing by gradients: its runs use one of the 2 devices" in printed
    assert "Each run of method=lora is trained on 2 devices" in printed


def test_a_method_that_trains_counts_also_with_a_problem() -> None:
    """So the one that trains nothing is not told to be alone; unequal shares are a note."""
    launch, train = {"devices_per_run": 2}, {"batch_size": 9}

    def cell(method: str, **more: Any) -> Cell:
        config = {"launch": launch, "train": train, "model": {}, "method": {"name": method, **more}}
        return Cell(method, "t", "m", method, variant={}, config=OmegaConf.create(config))

    probe, lora = cell("linear_probe", ignores=["train"]), cell("lora")
    problems = Problems()
    check_methods([probe, lora], problems)
    assert not problems.messages
    check_methods([probe], problems)
    assert len(problems.messages) == 1
    (note,) = notes(lora, lora.config)
    assert "train.batch_size=9 has unequal shares on 2 devices" in note and "train.batch_size=10 takes" in note
