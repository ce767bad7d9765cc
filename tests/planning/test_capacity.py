"""What a run on several devices holds, and what that costs."""

from __future__ import annotations

import pytest

from harness.config.schema import Config, HardwareConfig, LaunchConfig, SlurmConfig
from harness.planning.capacity import gpu_share, processes_per_gpu, slot_rate, workers


def test_a_run_on_two_gpus_holds_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many runs at once, each at the price of two GPUs; without GPUs, processes share the machine's memory."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    config = Config(
        launch=LaunchConfig(devices_per_run=2, threads=1), hardware=HardwareConfig(name="x", dollars_per_hour=3600.0)
    )
    assert workers(config) == (2, 1)
    assert processes_per_gpu(config, 2) == 1
    assert slot_rate(config, {}, gpu_share(config, 2)) == pytest.approx(2.0)
    assert slot_rate(config, {"method": {"ignores": ["train"]}}, gpu_share(config, 2)) == pytest.approx(1.0)
    config.device = "cpu"
    assert processes_per_gpu(config, 2) == 4
    config.launch.kind, config.slurm = "slurm", SlurmConfig(nodes_per_run=2)
    assert processes_per_gpu(config, 2) == 1
