"""What cannot use several devices a run is told before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.design.test_value_checks import PLAN, assert_told

Main = Callable[..., tuple[int, str]]


def test_what_cannot_be_divided_is_told_at_once(main: Main, place: Path) -> None:
    """Numbers that do not divide, and settings, models and methods of one device: a sentence each."""
    printed = assert_told(
        main, place, "-m", "method=linear_probe", *PLAN, "launch.devices_per_run=3", "slurm.nodes_per_run=2",
        "launch.fuse=4", "launch.workers_per_gpu=2", "train.batch_size=32", "launch.kind=inline",
    )  # fmt: skip
    for words in (
        "slurm.nodes_per_run=2 does not divide launch.devices_per_run=3",
        "slurm.nodes_per_run=2 is for jobs of a cluster, and launch.kind=inline",
        "Set train.batch_size=33",
        "launch.kind=inline is one process",
        "launch.fuse=4 fuses runs on one device",
        "launch.workers_per_gpu=2 lets runs share a GPU",
        "method=linear_probe trains nothing by gradients",
    ):
        assert words in printed, words
    printed = assert_told(
        main, place, "-m", "method=lora", *PLAN, "launch.devices_per_run=2", "model.quantize=int8",
        "train.batch_size=choice(8,9)",
    )  # fmt: skip
    assert "model.quantize=int8 loads a base that is trained on one device" in printed
    assert "divide train.batch_size=9: each device takes an equal share" in printed
    printed = assert_told(main, place, "-m", "task=demo_retrieval", "method=lora", *PLAN, "launch.devices_per_run=2")
    assert "task=demo_retrieval: the passages of a batch are each other's negatives" in printed
    assert "launch.devices_per_run=1000 takes 1000" in assert_told(
        main, place, "-m", "method=lora", *PLAN, "launch.devices_per_run=1000", "train.batch_size=1000", "device=cpu"
    )


def test_methods_without_training_use_one_of_the_devices(main: Main, place: Path) -> None:
    """Beside methods that train, and the plan says so."""
    code, printed = main(
        "-m", "method=linear_probe,lora", *PLAN, "launch.devices_per_run=2", "launch.workers=1", "device=cpu"
    )
    assert code == 0, printed
    assert "method=linear_probe trains nothing by gradients: its runs use one of the 2 devices" in printed
