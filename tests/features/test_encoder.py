"""What a process keeps between runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.features import encoder as encoder_module
from harness.features import worker_state
from harness.runs.prepare import PreparedRun
from tests.helpers.small_dataset import config, spec


def test_copies_are_made_where_they_compute(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold process and one that has computed features give a run the same: backbone and copy are on the device."""
    planned = spec(config(tmp_path, cache), tmp_path / "run")
    planned.paths.directory.mkdir()
    context = PreparedRun.load(planned, [].append, lambda: None)
    monkeypatch.setattr(
        encoder_module, "WORKER_STATE", worker_state.WorkerState()
    )  # the backbone there is moved for good
    elsewhere = torch.device("meta")
    encoder = replace(context.encoder, device=elsewhere)
    copied = encoder.network().backbone
    for backbone in (encoder.backbone, copied):
        assert {parameter.device for parameter in backbone.parameters()} == {elsewhere}
