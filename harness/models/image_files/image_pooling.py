"""Pooling of the feature maps or token vectors of an image into one vector."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.image_files.image_architectures import CLASS_TOKEN
from harness.models.pooling import widened

PIXELS = "pixel_values"  # key of a batch: (n, 3, height, width) float32, normalized
FLATTEN = "flatten"  # pooling: the vectors of all positions, one after another
LAYER = "feature_layer"  # attribute of a backbone: the block whose output is used (`PretrainedModel.layer`)


def reads_pixels(backbone: nn.Module) -> bool:
    """Return whether a backbone, adapted or not, reads images."""
    return getattr(_bare(backbone), "main_input_name", None) == PIXELS


def pooled_image(backbone: Any, pixels: Tensor, pooling: str) -> Tensor:
    """Return a vector (n, d) float32 for each image.

    Args:
        backbone: a model that reads images, adapted or not.
        pixels: (n, 3, height, width), normalized.
        pooling: pooler | mean | cls | flatten.

    Raises:
        HarnessError: the architecture has no such vector.
    """
    layer, inputs = getattr(backbone, LAYER, None), image_inputs(backbone, pixels)
    if layer is None:
        output = backbone(**inputs)
        hidden = None if pooling == "pooler" else widened(output.last_hidden_state)
    else:
        output = backbone(**inputs, output_hidden_states=True)
        hidden = widened(output.hidden_states[layer])
    if hidden is None or pooling == "pooler":
        return _own_vector(output, layer)
    if hidden.ndim == 4:
        if pooling == FLATTEN:
            return hidden.flatten(1)
        if pooling != "mean":
            raise HarnessError(
                f"model.pooling={pooling} takes one of the tokens, and this architecture has a feature map: "
                "set model.pooling to mean, flatten or pooler."
            )
        return hidden.mean(dim=(2, 3))
    before = before_patches(backbone)
    if pooling == "mean":
        return hidden[:, before:].mean(dim=1)
    if pooling == FLATTEN:
        return hidden[:, before:].flatten(1)
    if pooling == "cls" and before:
        return hidden[:, 0]
    raise HarnessError(
        f"model.pooling={pooling} takes a token that this architecture does not have: set model.pooling to "
        "mean, flatten or pooler."
    )


def _own_vector(output: Any, layer: int | None) -> Tensor:
    """Return the architecture's own pooled vector, which it makes of its last block."""
    vectors = getattr(output, "pooler_output", None)
    if vectors is None or layer is not None:
        why = "this one has none" if layer is None else f"that is of its last block, not of model.layer={layer}"
        raise HarnessError(
            f"model.pooling=pooler is the architecture's own pooled vector, and {why}: set model.pooling to mean, "
            "flatten or cls."
        )
    return widened(vectors).flatten(1)  # some keep two dimensions of size 1


def _bare(backbone: Any) -> Any:
    """Return the transformers model without an adapter's wrapper."""
    return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone


def image_inputs(backbone: Any, pixels: Tensor) -> dict[str, Any]:
    """Return the arguments of a forward pass."""
    inputs: dict[str, Any] = {PIXELS: pixels}
    bare = _bare(backbone)
    trained_at = getattr(bare.config, "image_size", None)
    sizes = list(trained_at) if isinstance(trained_at, list | tuple) else [trained_at] * 2
    if list(pixels.shape[2:]) != sizes and ("interpolate_pos_encoding" in inspect.signature(bare.forward).parameters):
        inputs["interpolate_pos_encoding"] = True  # another size than the position table was trained for
    return inputs


def before_patches(backbone: Any) -> int:
    """Return the number of tokens before those of the patches: class token, distillation token, registers."""
    config: Any = backbone.config
    if config.model_type not in CLASS_TOKEN:
        return 0
    registers = int(getattr(config, "num_register_tokens", 0) or 0)
    return 1 + registers + int(config.model_type == "deit")


def use_layer(backbone: Any, layer: int, shape: tuple[int, ...], what: str) -> None:
    """Let a model's vectors come from an earlier block than the last one.

    A model that can end there does (`end_after`); of others all blocks compute, and the hidden states are read.

    Args:
        backbone: changed in place.
        layer: number of the block, from 1.
        shape: of an image, (3, height, width).
        what: the model in messages.

    Raises:
        HarnessError: it has fewer blocks, or gives no hidden states.
    """
    if hasattr(backbone, "end_after"):
        blocks = len(backbone.blocks)
    else:
        empty = _empty(backbone, shape)
        with torch.no_grad():
            output = backbone(**image_inputs(backbone, empty), output_hidden_states=True)
        states = getattr(output, "hidden_states", None)
        if states is None:
            raise HarnessError(f"{what} gives no hidden states, so model.layer={layer} does not apply: leave it null.")
        blocks = len(states) - 1
    if layer > blocks:
        raise HarnessError(f"model.layer={layer}: {what} has {blocks} blocks. Name one of them, or null for the last.")
    if hasattr(backbone, "end_after"):
        backbone.end_after(layer)
    setattr(backbone, LAYER, layer)


def width_of_vectors(backbone: Any, pooling: str, shape: tuple[int, ...]) -> int:
    """Return the size of an image's vector: that of an empty image of a shape (3, height, width)."""
    with torch.no_grad():
        return int(pooled_image(backbone, _empty(backbone, shape), pooling).shape[1])


def _empty(backbone: Any, shape: tuple[int, ...]) -> Tensor:
    """Return an image of zeros where and as the backbone computes: quantized weights are stored as integers."""
    like = next((each for each in backbone.parameters() if each.is_floating_point()), torch.zeros(()))
    return torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
