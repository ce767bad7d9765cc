"""The network of task families that classify images: a backbone that reads pixels, pooling and a head."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.models.image_files.image_architectures import CLASS_TOKEN
from harness.models.network import AdaptedModel
from harness.models.pooling import widened

PIXELS = "pixel_values"  # key of a batch: (n, 3, height, width) float32, normalized


class ImageModel(AdaptedModel):
    """A backbone with a linear head on 20 x its L2-normalized pooled vector, as for texts.

    Batch normalizations keep their pretrained statistics, in training too: small batches of another data set would
    spoil them, and a saved model holds parameters only.
    """

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of a batch: (n, C) float32."""
        if self.head is None:
            logits: Tensor = self.backbone(**self._inputs(batch)).logits
            return widened(logits)
        return self.apply_head(self.features(batch))

    def features(self, batch: Batch) -> Tensor:
        """Return the L2-normalized pooled vectors of a batch: (n, d) float32."""
        return functional.normalize(self._pooled(self.backbone(**self._inputs(batch))), dim=-1)

    def train(self, mode: bool = True) -> ImageModel:
        """Set the mode; batch normalizations stay in eval mode."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        inputs: dict[str, Any] = {PIXELS: batch[PIXELS]}
        backbone: Any = self.backbone
        bare = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
        trained_at = getattr(bare.config, "image_size", None)
        sizes = list(trained_at) if isinstance(trained_at, list | tuple) else [trained_at] * 2
        if list(batch[PIXELS].shape[2:]) != sizes and (
            "interpolate_pos_encoding" in inspect.signature(bare.forward).parameters
        ):
            inputs["interpolate_pos_encoding"] = True  # another size than the position table was trained for
        return inputs

    def _pooled(self, output: Any) -> Tensor:
        if self.pooling == "pooler":
            vectors = getattr(output, "pooler_output", None)
            if vectors is None:
                raise HarnessError(
                    "model.pooling=pooler is the architecture's own pooled vector, and this one has none: set "
                    "model.pooling to mean or cls."
                )
            return widened(vectors).flatten(1)  # some keep two dimensions of size 1
        hidden = widened(output.last_hidden_state)
        if hidden.ndim == 4:
            if self.pooling != "mean":
                raise HarnessError(
                    f"model.pooling={self.pooling} takes one of the tokens, and this architecture has a feature map: "
                    "set model.pooling to mean or pooler."
                )
            return hidden.mean(dim=(2, 3))
        before = self._before_patches()
        if self.pooling == "mean":
            return hidden[:, before:].mean(dim=1)
        if self.pooling == "cls" and before:
            return hidden[:, 0]
        raise HarnessError(
            f"model.pooling={self.pooling} takes a token that this architecture does not have: set model.pooling to "
            "mean or pooler."
        )

    def _before_patches(self) -> int:
        """Return the number of tokens before those of the patches: class token, distillation token, registers."""
        config: Any = self.backbone.config
        if config.model_type not in CLASS_TOKEN:
            return 0
        registers = int(getattr(config, "num_register_tokens", 0) or 0)
        return 1 + registers + int(config.model_type == "deit")


def reads_pixels(backbone: nn.Module) -> bool:
    """Return whether a backbone, adapted or not, reads images."""
    bare: Any = backbone
    bare = bare.get_base_model() if hasattr(bare, "get_base_model") else bare
    return getattr(bare, "main_input_name", None) == PIXELS


def normalized(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalize images (n, 3, h, w) of values in [0, 1], by channel."""
    shift = torch.tensor(mean, device=pixels.device).view(1, -1, 1, 1)
    scale = torch.tensor(std, device=pixels.device).view(1, -1, 1, 1)
    return (pixels - shift) / scale
