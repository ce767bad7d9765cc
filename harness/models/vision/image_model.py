"""The network of task families that classify images: a backbone that reads pixels, pooling and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.examples import Batch
from harness.models.image_files.image_pooling import PIXELS, image_inputs, pooled_image
from harness.models.network import AdaptedModel
from harness.models.pooling import widened


class ImageModel(AdaptedModel):
    """A backbone with a linear head on 20 x its L2-normalized pooled vector, as for texts.

    Batch normalizations keep their pretrained statistics, in training too: small batches of another data set would
    spoil them, and a saved model holds parameters only.
    """

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of a batch: (n, C) float32."""
        if self.head is None:
            logits: Tensor = self.backbone(**image_inputs(self.backbone, batch[PIXELS])).logits
            return widened(logits)
        return self.apply_head(self.features(batch))

    def features(self, batch: Batch) -> Tensor:
        """Return the L2-normalized pooled vectors of a batch: (n, d) float32."""
        return functional.normalize(pooled_image(self.backbone, batch[PIXELS], self.pooling), dim=-1)

    def train(self, mode: bool = True) -> ImageModel:
        """Set the mode; batch normalizations stay in eval mode."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def normalized(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalize images (n, 3, h, w) of values in [0, 1], by channel."""
    shift = torch.tensor(mean, device=pixels.device).view(1, -1, 1, 1)
    scale = torch.tensor(std, device=pixels.device).view(1, -1, 1, 1)
    return (pixels - shift) / scale
