"""The weights of EfficientNet-Lite0 in a package as a directory that transformers loads.

The package has a pickled state dict of the original names. It is read with `weights_only`, which runs no code, after
the caller has checked its digest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.models.files.model_files import WHOLE
from harness.models.image_files.image_architectures import PROCESSOR
from harness.models.packaged.conversion import converted_once

FORMAT = 1  # of converted directories; increased when a conversion gives other files
SECONDS = 600.0  # longest time of a conversion
# Resizing and normalization of the original: (byte - 127) / 128, bicubic to 224 x 224.
SETTINGS = {
    "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": [127 / 255] * 3,
    "image_processor_type": "ViTImageProcessor", "image_std": [128 / 255] * 3, "resample": 3,
    "rescale_factor": 1 / 255, "size": {"height": 224, "width": 224},
}  # fmt: skip


def converted(file: Path, sha256: str, cache_dir: str | Path, model: str) -> Path:
    """Return the directory with the weights as safetensors, config.json and the image processor; convert if needed.

    Args:
        file: the state dict, its digest checked by the caller.
        sha256: its digest, which names the directory.
        cache_dir: where the directory is kept, under `converted`.
        model: the model's name in messages.

    Raises:
        HarnessError: the cache cannot be written, or the weights do not fit.
    """
    module = "harness.models.packaged.efficientnet"
    return converted_once(module, f"{sha256[:32]}-{FORMAT}", file, cache_dir, model, SECONDS)


def convert(file: Path, target: Path) -> None:
    """Write the model as `save_pretrained` does.

    Args:
        file: the state dict.
        target: a directory that exists.

    Raises:
        RuntimeError: tensors are missing, or have other shapes.
    """
    import torch

    from harness.models.image_files.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel

    held = torch.load(file, map_location="cpu", weights_only=True)
    named = {".".join(part.removeprefix("_") for part in name.split(".")): tensor for name, tensor in held.items()}
    weights = {name: tensor for name, tensor in named.items() if not name.startswith("fc.")}  # the head of ImageNet
    network = EfficientNetLiteModel(EfficientNetLiteConfig())
    network.load_state_dict(weights, strict=True)
    network.save_pretrained(target)
    (target / WHOLE).chmod(0o644)  # safetensors lets nobody else read it
    (target / PROCESSOR).write_text(json.dumps(SETTINGS, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
