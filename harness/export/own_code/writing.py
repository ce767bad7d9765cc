"""Write a network whose head no architecture of transformers has, with the module that describes it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.api.family import family_of
from harness.export.own_code import modeling_images, modeling_pooled, modeling_tags
from harness.models.heads import SCALE
from harness.models.image_files.image_pooling import before_patches, image_inputs
from harness.models.pooling import width


def write_with_code(
    network: Any, backbone: Any, facts: Mapping[str, Any], labels: Sequence[str], processor: Any, directory: Path
) -> None:
    """Write weights, config.json and the module into a folder.

    Args:
        network: with the head.
        backbone: an ordinary model of transformers.
        facts: harness.json of the model.
        labels: names of the outputs.
        processor: tokenizer, or image processor.
        directory: the folder.
    """
    from safetensors.torch import save_file

    family = family_of(facts.get("family"))
    stored = backbone.config.to_diff_dict()
    inner = {key: value for key, value in stored.items() if key not in ("_name_or_path", "architectures")}
    common: dict[str, Any] = {
        "backbone": {**inner, "model_type": backbone.config.model_type},
        "scale": SCALE,
        "num_labels": network.classes,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: place for place, label in enumerate(labels)},
        "dtype": "float32",
    }
    module: ModuleType
    settings: Any
    model: Any
    own: dict[str, Any]
    if family.tokens:
        module, settings, model = modeling_tags, modeling_tags.TaggerConfig, modeling_tags.Tagger
        auto, own = "AutoModelForTokenClassification", {"options": _options(backbone)}
    elif family.reads == "image":
        module, settings, model = modeling_images, modeling_images.ImageHeadConfig, modeling_images.ImageHead
        auto, own = "AutoModelForImageClassification", _of_images(network, backbone, facts, processor)
    else:
        module, settings, model = modeling_pooled, modeling_pooled.PooledConfig, modeling_pooled.PooledClassifier
        auto, own = "AutoModelForSequenceClassification", _of_texts(backbone, facts)
    name = module.__name__.rpartition(".")[2]
    config = settings(
        **common, **own, architectures=[model.__name__],
        auto_map={"AutoConfig": f"{name}.{settings.__name__}", auto: f"{name}.{model.__name__}"},
    )  # fmt: skip
    if network.classes == 1 and not facts.get("labels") and not family.tokens:
        config.problem_type = "regression"
    config.save_pretrained(str(directory))
    tensors = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    tensors |= {f"head.{name}": tensor for name, tensor in network.head.state_dict().items()}
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()},
        directory / "model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    shutil.copy(str(module.__file__), directory / f"{name}.py")


def _of_texts(backbone: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pooling": facts["model"]["pooling"],
        "voters": facts.get("neighbours"),
        "max_position_embeddings": getattr(backbone.config, "max_position_embeddings", None),
    }


def _of_images(network: Any, backbone: Any, facts: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    import torch

    empty = torch.zeros(1, *processor.shape)
    return {
        "pooling": network.pooling,
        "layer": facts["model"].get("layer"),
        "before": before_patches(backbone),
        "interpolates": "interpolate_pos_encoding" in image_inputs(backbone, empty),
        "size": width(backbone),
        "voters": facts.get("neighbours"),
        "options": _options(backbone),
    }


def _options(backbone: Any) -> dict[str, Any]:
    """Return how a model is built so that it has the tensors of this one: some have a pooling layer, or none."""
    import torch
    from transformers import AutoModel

    kind: Any = AutoModel
    for options in ({}, {"add_pooling_layer": False}):
        try:
            with torch.device("meta"):
                made = kind.from_config(backbone.config, **options)
        except (TypeError, ValueError):
            continue
        if set(made.state_dict()) == set(backbone.state_dict()):
            return options
    return {}
