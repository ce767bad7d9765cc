"""Which class of transformers loads a model that reads images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.image_files.image_architectures import BOXES, DETECTORS

POOLERS = "pooler"


def image_kind(path: Path, pooling: str, what: str) -> Any:
    """Return the class that loads a model's image encoder, or its own image classifier for pooling `model`.

    Raises:
        HarnessError: transformers has none for the architecture.
    """
    import transformers
    from transformers import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
        MODEL_FOR_OBJECT_DETECTION_MAPPING,
        MODEL_MAPPING,
        AutoConfig,
    )

    import harness.models.image_files.efficientnet_lite  # noqa: F401 -- registers the architecture with transformers

    config = AutoConfig.from_pretrained(str(path), trust_remote_code=False, local_files_only=True)
    if pooling == BOXES and config.model_type in DETECTORS:
        if type(config) not in MODEL_FOR_OBJECT_DETECTION_MAPPING:
            raise HarnessError(f"{what} finds no objects: transformers has no detector of {config.model_type}.")
        return transformers.AutoModelForObjectDetection
    towers = {"clip": transformers.CLIPVisionModel, "siglip": transformers.SiglipVisionModel}
    if pooling == "model":
        if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
            raise HarnessError(
                f"{what} has no classification head of its own: transformers has none for {config.model_type}. Use "
                "model.pooling=pooler, mean or cls."
            )
        return transformers.AutoModelForImageClassification
    if config.model_type in towers:
        return towers[config.model_type]
    if type(config) not in MODEL_MAPPING:
        raise HarnessError(
            f"{what} has no features of images to classify by: transformers has no plain model of {config.model_type}."
        )
    return transformers.AutoModel


def check_pooler(missing: set[str], pooling: str, what: str) -> None:
    """Refuse to pool by a layer that the files lack and that would be random.

    Args:
        missing: names of tensors that the files lack.
        pooling: see `PretrainedModel`.
        what: name of the model in messages.

    Raises:
        HarnessError: they lack the pooler.
    """
    lacks = sorted(name for name in missing if "pooler" in name.split("."))
    if pooling == POOLERS and lacks:
        raise HarnessError(
            f"{what} was saved without its pooler ({lacks[0]}), which would be random: set model.pooling to mean or "
            "cls."
        )
