"""Image processors: as transformers' own, in two steps; the YAML's settings replace those of the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessorPil

from harness.errors import HarnessError
from harness.models.image_files.image_processor import load_processor
from harness.models.vision.image_model import normalized
from tests.helpers.tiny_images import PROCESSOR


def picture(width: int = 50, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def processor_in(directory: Path, settings: object, architecture: str | None = "vit", **own: object):  # type: ignore[no-untyped-def]  # a fixture in all but name
    directory.mkdir(exist_ok=True)
    (directory / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return load_processor(directory, "test", architecture, own)


def test_bytes_and_normalization_equal_one_step(tmp_path: Path) -> None:
    """Up to the rounding to bytes, which PIL does in any case."""
    found = processor_in(tmp_path / "a", PROCESSOR)
    bytes_ = found.pixels([picture()])
    assert bytes_.shape == (1, 3, 32, 32) and bytes_.dtype == np.uint8
    mine = normalized(torch.from_numpy(bytes_).float() / 255, found.mean, found.std)
    settings = {key: value for key, value in PROCESSOR.items() if key != "image_processor_type"}
    theirs = ViTImageProcessorPil(**settings)(images=[picture()], return_tensors="pt")["pixel_values"]
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_the_yaml_replaces_the_files(tmp_path: Path) -> None:
    clip = {
        "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 40}, "do_center_crop": True,
        "crop_size": {"height": 40, "width": 40},
    }  # fmt: skip
    assert processor_in(tmp_path / "a", clip, "clip").pixels([picture()]).shape[2:] == (40, 40)
    smaller = processor_in(tmp_path / "a", clip, "clip", image_size=24, image_mean=[0.1, 0.2, 0.3])
    assert smaller.pixels([picture(), picture(20, 90)]).shape == (2, 3, 24, 24)
    assert smaller.mean == (0.1, 0.2, 0.3)
    assert smaller.key != processor_in(tmp_path / "a", clip, "clip").key


def test_without_files_the_yaml_suffices(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no preprocessor_config\.json.*model\.image_size=224"):
        load_processor(tmp_path, "test", "resnet", {})
    assert load_processor(tmp_path, "test", "resnet", {"image_size": 40}).pixels([picture()]).shape[2:] == (40, 40)


def test_a_saved_processor_is_the_same(tmp_path: Path) -> None:
    first = processor_in(tmp_path / "a", PROCESSOR, image_size=24)
    (tmp_path / "b").mkdir()
    first.save_pretrained(str(tmp_path / "b"))
    again = load_processor(tmp_path / "b", "test", None, {})
    assert again.key == first.key and np.array_equal(again.pixels([picture()]), first.pixels([picture()]))


@pytest.mark.parametrize("settings", [[1], "x", {"size": {"height": -3, "width": 4}}, {"size": "large"}])
def test_settings_that_do_not_fit(tmp_path: Path, settings: object) -> None:
    with pytest.raises(HarnessError, match=r"image processor|cannot be read"):
        processor_in(tmp_path / "a", settings)
