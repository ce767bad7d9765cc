"""Networks on images: pooling of each architecture, methods that adapt them, batch normalization, saved adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import GradientTrained
from harness.models.language.language_model import network_on
from harness.models.network import load_backbone
from harness.models.pooling import width
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_images import SIZE, TINY, batch, network, pretrained, write

TOWERS = ("vit", "dinov2", "dinov3_vit", "siglip_vision_model", "clip_vision_model")
CONVOLUTIONS = ("convnext", "resnet", "efficientnet_lite")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("images")
    return {kind: write(kind, root / kind) for kind in TINY}


def method(name: str, **changes: Any) -> GradientTrained:
    settings = yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text(encoding="utf-8"))["method"]
    made = build(settings | changes)
    assert isinstance(made, GradientTrained)
    return made


@pytest.mark.parametrize("kind", TINY)
def test_features_are_those_of_transformers(models: dict[str, Path], kind: str) -> None:
    for pooling in ("pooler", "mean", "cls"):
        if (pooling == "cls" and kind in (*CONVOLUTIONS, "siglip_vision_model")) or (
            pooling == "pooler" and kind in ("vit",)
        ):
            continue
        made = network(kind, models[kind], pooling)
        with torch.no_grad():
            output = made.backbone(**batch())
            found = made.features(batch())
        hidden = output.last_hidden_state
        if pooling == "pooler":
            expected = output.pooler_output.flatten(1)
        elif pooling == "cls":
            expected = hidden[:, 0]
        else:
            before = {"vit": 1, "dinov2": 1, "clip_vision_model": 1, "dinov3_vit": 3}.get(kind, 0)
            expected = hidden.mean((2, 3)) if hidden.ndim == 4 else hidden[:, before:].mean(1)
        assert torch.allclose(found, functional.normalize(expected, dim=-1), atol=1e-6)


@pytest.mark.parametrize(("kind", "pooling"), [("convnext", "cls"), ("siglip_vision_model", "cls"), ("vit", "last")])
def test_poolings_that_an_architecture_lacks(models: dict[str, Path], kind: str, pooling: str) -> None:
    with pytest.raises(HarnessError, match=r"set model\.pooling to mean, flatten or pooler"):
        network(kind, models[kind], pooling).features(batch())


@pytest.mark.parametrize("kind", ["vit", "dinov3_vit", "convnext", "resnet", "efficientnet_lite"])
def test_vectors_of_an_earlier_block_and_of_all_positions(models: dict[str, Path], kind: str) -> None:
    """`model.layer` takes the hidden states after a block, and pooling by `flatten` keeps every position."""
    plain = network(kind, models[kind], "mean")
    with torch.no_grad():
        states = plain.backbone(**batch(), output_hidden_states=True).hidden_states
        last = plain.backbone(**batch()).last_hidden_state
    before = {"vit": 1, "dinov3_vit": 3}.get(kind, 0)
    for layer in (1, None):
        expected = last if layer is None else states[layer]
        for pooling in ("mean", "flatten"):
            model = pretrained(kind, models[kind], pooling=pooling, layer=layer)
            made = network_on(load_backbone(model.resolve(models[kind]), pooling, 3), pooling, 3).eval()
            with torch.no_grad():
                found = made.features(batch())
            if expected.ndim == 4:
                wanted = expected.flatten(1) if pooling == "flatten" else expected.mean((2, 3))
            else:
                patches = expected[:, before:]
                wanted = patches.flatten(1) if pooling == "flatten" else patches.mean(1)
            assert torch.allclose(found, functional.normalize(wanted, dim=-1), atol=1e-6)
            assert made.head.in_features == width(made.backbone) == found.shape[1]  # type: ignore[union-attr]
            if kind == "efficientnet_lite" and layer:  # what follows is neither computed nor counted
                kept, whole = (sum(p.numel() for p in each.backbone.parameters()) for each in (made, plain))
                assert kept < whole
                method("full").adapt(made, model, 20)
    with pytest.raises(HarnessError, match=r"model\.layer=9: .* blocks"):
        load_backbone(pretrained(kind, models[kind], pooling="mean", layer=9).resolve(models[kind]), "mean", 3)
    with pytest.raises(HarnessError, match=r"model\.layer=1 takes vectors before the end"):
        pretrained(kind, models[kind], pooling="pooler", layer=1)


def test_a_pooler_that_the_files_lack_is_not_drawn(models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    directory = write("vit", tmp_path / "vit")
    tensors = load_file(directory / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "pooler" not in name},
        directory / "model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    network("vit", directory, "cls")
    with pytest.raises(HarnessError, match="saved without its pooler"):
        network("vit", directory, "pooler")


def test_another_size_interpolates_positions(models: dict[str, Path]) -> None:
    for kind in ("vit", "dinov2", "siglip_vision_model", "clip_vision_model"):
        made = network(kind, models[kind])
        with torch.no_grad():
            assert made(batch(size=2 * SIZE)).shape == (4, 3)


@pytest.mark.parametrize("kind", ["vit", "convnext", "resnet"])
def test_the_own_head(models: dict[str, Path], kind: str) -> None:
    made = network(kind, models[kind], "model")
    assert made(batch()).shape == (4, 3) and list(made.head_parameters())


CASES = [
    *((kind, name) for kind in TOWERS for name in ("lora", "lora_all_linear", "ia3", "houlsby", "ln_tuning")),
    *((kind, name) for kind in TINY for name in ("full", "bitfit", "last_layers")),
    *((kind, "lora") for kind in CONVOLUTIONS),
    *(("vit", name) for name in ("dora", "adalora", "vera", "oft", "hra", "loha", "gradual_unfreezing")),
    ("resnet", "loha"), ("efficientnet_lite", "lokr"), ("convnext", "pfeiffer"), ("efficientnet_lite", "ia3"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_methods_adapt_architectures(models: dict[str, Path], kind: str, name: str) -> None:
    """A few steps lower the loss; what is not trained, and every statistic of normalizations, stays as it was."""
    made = network(kind, models[kind])
    before = {key: value.clone() for key, value in made.backbone.state_dict().items()}
    changes: dict[str, Any] = {"layers": 1} if name == "last_layers" else {}
    hooks = method(name, **changes).adapt(made, pretrained(kind, models[kind]), 20)
    made.train()
    assert not any(module.training for module in made.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    trained = made.trainable()
    assert any(not key.startswith("head.") for key in trained)
    images, targets = batch(6), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer, losses = torch.optim.AdamW(trained.values(), lr=2e-3), []
    for step in range(8):
        loss = functional.cross_entropy(made(images), targets)
        (loss if hooks.penalty() is None else loss + hooks.penalty()).backward()
        hooks.before_update(step)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    after = made.backbone.state_dict()
    for key, value in before.items():
        if "running_" in key and key in after:
            assert torch.equal(after[key], value)


@pytest.mark.parametrize(("kind", "name"), [("efficientnet_lite", "houlsby"), ("resnet", "vera")])
def test_methods_for_linear_layers_refuse_convolutions(models: dict[str, Path], kind: str, name: str) -> None:
    with pytest.raises(HarnessError, match=r"cannot adapt model=tiny|linear layer"):
        method(name).adapt(network(kind, models[kind]), pretrained(kind, models[kind]), 20)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_image_encoder_of_two_towers(tmp_path: Path, kind: str) -> None:
    """A file of a text and an image encoder gives the image encoder, with its weights."""
    import json

    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    from harness.models.vision.image_model import ImageModel
    from tests.helpers.tiny_images import PROCESSOR

    vision = TINY[f"{kind}_vision_model"][0]
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 99,
    }
    configs: Any = CLIPConfig if kind == "clip" else SiglipConfig
    torch.manual_seed(0)
    config = configs(text_config=text, vision_config=vision, projection_dim=16)
    whole: Any = (CLIPModel if kind == "clip" else SiglipModel)(config).eval()
    whole.save_pretrained(tmp_path / "whole")
    (tmp_path / "whole" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), encoding="utf-8")
    resolved = pretrained(f"{kind}_vision_model", tmp_path / "whole").resolve(tmp_path)
    assert resolved.reads_images and resolved.architecture == kind
    made = ImageModel(load_backbone(resolved, "pooler", 0), "pooler", 3)
    with torch.no_grad():
        expected = whole.vision_model(**batch()).pooler_output
        assert torch.allclose(made.eval().features(batch()), functional.normalize(expected, dim=-1), atol=1e-6)
    method("lora").adapt(made, pretrained(f"{kind}_vision_model", tmp_path / "whole"), 10)
