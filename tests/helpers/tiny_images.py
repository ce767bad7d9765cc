"""Tiny models that read images, with random weights, as save_pretrained writes them; and folders of small images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import harness.models.image_files.efficientnet_lite as lite
from harness.models import PretrainedModel
from harness.models.network import AdaptedModel, load_backbone
from harness.models.vision.image_model import ImageModel

SIZE = 32
_TOWER: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": SIZE,
    "patch_size": 8,
}  # fmt: skip
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
# By transformers' model_type: the settings, and a pooling that suits it.
TINY: dict[str, tuple[dict[str, Any], str]] = {
    "vit": (_TOWER, "cls"),
    "dinov2": (_TOWER, "mean"),
    "dinov3_vit": (_TOWER | {"num_register_tokens": 2}, "cls"),
    "siglip_vision_model": (_TOWER, "pooler"),
    "clip_vision_model": (_TOWER, "pooler"),
    "convnext": (_STAGES | {"num_stages": 2}, "pooler"),
    "resnet": (_STAGES | {"embedding_size": 8, "layer_type": "basic"}, "pooler"),
    "efficientnet_lite": (
        {"stem": 8, "stages": [[1, 3, 1, 1, 8], [2, 3, 2, 2, 12]], "hidden_size": 16}, "mean",
    ),
}  # fmt: skip
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "size": {"height": SIZE, "width": SIZE}, "resample": 2,
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "do_normalize": True, "do_rescale": True,
}  # fmt: skip


def write(kind: str, directory: Path, processor: dict[str, Any] | None = None) -> Path:
    """Write a tiny model of an architecture; the same at every call."""
    from transformers import AutoConfig, AutoModel

    assert lite.EFFICIENTNET_LITE == "efficientnet_lite"  # its import registers the architecture
    torch.manual_seed(0)
    config: Any = AutoConfig.for_model(kind, **TINY[kind][0])
    model: Any = AutoModel.from_config(config)
    for name, buffer in model.named_buffers():  # untrained batch normalizations would hide wrong statistics
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    model.save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(processor or PROCESSOR), encoding="utf-8")
    return directory


def pretrained(kind: str, directory: Path, **more: Any) -> PretrainedModel:
    """Return the model as conf/model would name it."""
    return PretrainedModel(**{"name": "tiny", "path": str(directory), "pooling": TINY[kind][1]} | more)


def network(kind: str, directory: Path, pooling: str | None = None, classes: int = 3) -> AdaptedModel:
    """Load a written model as a network."""
    model = pretrained(kind, directory)
    made = ImageModel(
        load_backbone(model.resolve(directory), pooling or model.pooling, classes), pooling or model.pooling, classes
    )
    torch.manual_seed(0)
    made.reset_head()
    return made.eval()


def batch(rows: int = 4, size: int = SIZE) -> dict[str, torch.Tensor]:
    """Random normalized images."""
    return {"pixel_values": torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(1))}


def folders(root: Path, count: int = 12, classes: tuple[str, ...] = ("dark", "light"), size: int = 20) -> Path:
    """Write a folder a class; how bright an image is tells its class."""
    draw = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            values = draw.integers(0, 90, (size, size + 4, 3)) + place * 255 // len(classes)
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(root / name / f"{number:02d}.png")
    return root
