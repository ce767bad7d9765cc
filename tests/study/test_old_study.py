"""A study of an earlier version, whose files name class paths: it goes on, and its models are used, as they lie there.

`golden/study` was left by `python -m harness -m study=old` with ARGUMENTS, less its binary files: the tokenizer is
MiniLM's, and tests write weights of the same names and shapes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from harness.config.instantiate import build
from harness.serving.predict import load
from harness.system.machine import device_name
from tests.helpers.small_dataset import ROOT

Main = Callable[..., tuple[int, str]]

ARGUMENTS = (
    "method=linear_probe,lora", "task.train_per_class=4", "task.validation_per_class=2", "task.test_per_class=2",
    "task.shots=3", "tune.trials=2", "confirm.seeds=1", "train.epochs=1", "launch.kind=inline",
)  # fmt: skip
CELLS = ("demo.minilm.linear_probe", "demo.minilm.lora")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parents[1] / "golden" / "study", tmp_path / "runs" / "old"))


def weights(model: Path) -> None:
    """Write a saved model's weights: a head for 30 classes and, where it has an adapter, LoRA factors of rank 8."""
    save_file({"head.bias": torch.zeros(30), "head.weight": torch.eye(30, 384)}, model / "head.safetensors")
    if (model / "adapter").is_dir():
        names = [
            f"base_model.model.encoder.layer.{layer}.attention.self.{part}.lora_{factor}.weight"
            for layer in range(6) for part in ("query", "value") for factor in "AB"
        ]  # fmt: skip
        tensors = {name: torch.zeros((8, 384) if "lora_A" in name else (384, 8)) for name in names}
        save_file(tensors, model / "adapter" / "adapter_model.safetensors")


def records(study: Path) -> dict[str, str]:
    return {str(path.relative_to(study)): path.read_text() for path in sorted(study.glob("runs/*/*/record.json"))}


def test_the_same_command_finds_every_run_done(old: Path, main: Main) -> None:
    """Its question and its signatures are those of today, so no run is executed again."""
    before = records(old)
    code, printed = main("-m", "study=old", *ARGUMENTS)
    assert code == 0, printed
    assert records(old) == before and len(before) == 6
    assert all(f"{cell.rpartition('.')[2]} " in printed for cell in CELLS)
    # It goes on with the masks that it began with.
    assert yaml.safe_load((old / "sweep.yaml").read_text())["numerics"] == {"train.dropout_masks": "native"}


def test_another_question_is_refused_with_what_differs(old: Path, main: Main) -> None:
    """The names of classes are none of it."""
    code, printed = main("-m", "study=old", *ARGUMENTS, "train.batch_size=8")
    assert code == 2
    assert "train.batch_size was 32, is 8" in printed
    assert "_target_" not in printed and "kind" not in printed


def test_plans_know_the_runs_of_earlier_versions(old: Path, main: Main) -> None:
    """What a run takes is read from records whose configuration is the same but for what names classes."""
    for path in old.glob("runs/*/*/record.json"):  # as if they had been made on this machine
        record = json.loads(path.read_text(encoding="utf-8"))
        record["provenance"]["device_name"] = device_name("cpu")
        path.write_text(json.dumps(record), encoding="utf-8")
    code, printed = main(
        "-m", *ARGUMENTS, "study=new", "plan=true", "calibrate=false", "device=cpu", "launch.threads=2"
    )  # fmt: skip
    assert code == 0, printed
    assert "Estimate from past runs:" in printed


@pytest.mark.parametrize("cell", CELLS)
def test_saved_models_are_loaded(old: Path, cache: Path, cell: str) -> None:
    """From what their files say, with weights of the names that they had."""
    (directory,) = (old / "runs" / cell).glob("confirm-*/model")
    backbone = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8"))).resolve(cache)
    for file in backbone.path.glob("tokenizer*.json"):
        shutil.copy(file, directory)
    weights(directory)
    model = load(directory, cache_dir=cache)
    assert len(model.labels) == 30
    assert model.predict(["Where is my parcel? It should have come yesterday."])[0] in model.labels
