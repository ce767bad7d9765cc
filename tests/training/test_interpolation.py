"""What is evaluated and saved between the pretrained and the trained weights (`method.alpha`)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import GradientTrained
from harness.methods.bottleneck_adapters import Bottleneck
from harness.methods.catalogue import catalogue
from harness.models.network import AdaptedModel
from harness.serving.predict import load
from harness.training.interpolation import Interpolation
from harness.training.loop import fit, predict
from tests.helpers import tiny_writers
from tests.helpers.networks import batch, model, network
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_writers import WORDS
from tests.helpers.training_sessions import CPU, Setting, make, pretrained
from tests.methods.test_matrix import SETTINGS

OVERLAYS = catalogue(ROOT / "conf/method")
# Methods of other inputs have the key, too: SASRec has no pretrained model, heads of images no texts.
TAKING = [
    name
    for name, overlay in OVERLAYS.items()
    if "alpha" in overlay["method"] and "text" in overlay["method"]["about"].get("inputs", ("text",))
]
TRAINED = [name for name, overlay in OVERLAYS.items() if overlay["method"]["kind"] in ("peft", "adalora", "eva")]
Main = Callable[..., tuple[int, str]]


def layers(trained: AdaptedModel) -> dict[str, torch.Tensor]:
    """The backbone's own weights, adapters merged into them; a bottleneck's outputs on fixed inputs."""
    backbone: Any = copy.deepcopy(trained.backbone).eval()
    if hasattr(backbone, "merge_and_unload"):
        backbone = backbone.merge_and_unload()
    inputs = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, module in backbone.named_modules():
        if isinstance(module, Bottleneck):
            found[name] = module.up(module.activation(module.down(inputs)))
    names = {name for name, module in backbone.named_modules() if isinstance(module, nn.Linear | nn.LayerNorm)}
    for name in sorted(names):
        if ".up" not in name and ".down" not in name:
            found |= {f"{name}.{leaf}": p for leaf, p in backbone.get_submodule(name).named_parameters()}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


@pytest.mark.parametrize("name", TAKING)
def test_what_is_added_to_each_layer_is_multiplied(name: str) -> None:
    """Whatever trained weights are, the merged layers move by alpha of their way from the pretrained ones."""
    overlay = copy.deepcopy(OVERLAYS[name]["method"])
    overlay.get("config", {}).update(SETTINGS.get(name, {}))
    method = build(overlay | {"alpha": 0.3})
    assert isinstance(method, GradientTrained)
    mine = network("bert-base")
    torch.manual_seed(1)
    hooks = method.adapt(mine, model(), 10)
    method.initialize(mine, iter([batch()]))
    start = layers(mine)
    between = Interpolation(mine, hooks, 0.3)
    with torch.no_grad():
        for parameter in mine.trainable().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    end = layers(mine)
    head = {key: p.detach().clone() for key, p in mine.head_parameters()}
    with between.in_place():
        middle = layers(mine)
        assert all(torch.equal(p, head[key]) for key, p in mine.head_parameters())
    after = layers(mine)
    assert any(not torch.equal(start[key], end[key]) for key in start)
    for key in start:
        torch.testing.assert_close(middle[key], torch.lerp(start[key], end[key], 0.3), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after[key], end[key])


@pytest.mark.parametrize("name", [name for name in TRAINED if name not in TAKING])
def test_methods_for_which_it_has_no_meaning_refuse_it(name: str) -> None:
    """In one sentence; what ships with the key takes it."""
    with pytest.raises(HarnessError, match=f"method={name} adds to them in another way"):
        build(OVERLAYS[name]["method"] | {"alpha": 0.5})


def test_range() -> None:
    """0 would be the pretrained model, which zero_shot and linear_probe are for."""
    for value in (0.0, 1.5, -1.0):
        with pytest.raises(HarnessError, match="must lie above 0"):
            build(OVERLAYS["full"]["method"] | {"alpha": value})


def test_the_best_epoch_holds_what_was_evaluated() -> None:
    """Training itself is that without interpolation."""
    plain, half = (make(Setting("lora", train={"epochs": 2}), pretrained()) for _ in range(2))
    half.alpha = 0.5
    half.__post_init__()
    fit([plain])
    fit([half])
    assert half.progress.train_loss == plain.progress.train_loss
    assert half.progress.val["loss"] != plain.progress.val["loss"]
    assert half.validation is not None
    found = half.task.evaluate(
        half.validation.targets, predict(half.network, half.task, half.validation, half.config, CPU)
    )
    assert found["loss"] == pytest.approx(half.progress.best_val["loss"])


def test_a_study_has_it_as_an_axis_and_its_models_predict_alike(tmp_path: Path, main: Main) -> None:
    """A saved model writes what was evaluated."""
    path = tmp_path / "rows.csv"
    lines = [f"{one} {other},{other}" for one in WORDS for other in WORDS[:4]]
    path.write_text("\n".join(["prompt,completion", *lines]), encoding="utf-8")
    tiny = tiny_writers.saved(tmp_path / "tiny", tiny_writers.decoder)
    code, printed = main(
        "-m", "study=alphas", "task=text_generation", f"task.path={path}", "task.prompt=prompt",
        "task.completion=completion", "task.name=rows", "task.generate.max_new_tokens=4", "model=own",
        "model.name=tiny", f"model.path={tiny}", "method=lora_all_linear", "method.alpha=0.25,1", "axes=[method.alpha]",
        "train.lr=0.05",
        "train.epochs=2", "tune.trials=1", "confirm.seeds=1", "keep=all", "launch.kind=inline", "device=cpu",
    )  # fmt: skip
    assert code == 0, printed
    written = {}
    for run in sorted((tmp_path / "runs" / "alphas").glob("runs/*/confirm-*")):
        table = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
        written[run.parent.name] = table["prediction"].tolist()
        assert load(run / "model", device="cpu").predict(table["prompt"].tolist()) == written[run.parent.name]
    quarter, whole = written.values()
    assert quarter != whole


@pytest.mark.parametrize("method", ["prompt_tuning", "linear_probe", "pissa"])
def test_it_is_refused_on_the_command_line(method: str, main: Main) -> None:
    """Before any compute."""
    code, printed = main("task=demo", f"method={method}", "method.alpha=0.5")
    assert code == 2 and "has no meaning for method=" in " ".join(printed.split()), printed
