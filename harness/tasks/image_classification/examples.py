"""Images of a split as bytes, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.examples import Batch, Examples, Rows
from harness.models.image_files.image_pooling import PIXELS
from harness.models.vision.image_model import normalized


@dataclass(frozen=True)
class ImageExamples(Examples):
    """Rows whose token is an image: `tokens.ids` is (n, 3, height, width) uint8, resized for the model.

    Attributes:
        mean, std: of each channel, of values in [0, 1].
        classes: number of classes C, for transforms that mix labels.
        transforms: of training batches, in order (`harness.augment.images.ImageTransform`).
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    classes: int = 0
    transforms: tuple[Any, ...] = ()

    def digest(self) -> str:
        """Return the SHA-256 of the images and their normalization as hex digits."""
        content = hashlib.sha256(repr((self.tokens.ids.shape, self.mean, self.std)).encode())
        for start in range(0, len(self.tokens.ids), 256):  # in parts: mapped files may be larger than memory
            content.update(np.ascontiguousarray(self.tokens.ids[start : start + 256]).tobytes())
        return content.hexdigest()

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows as normalized images: {pixel_values: (b, 3, h, w) float32}."""
        return {PIXELS: normalized(self._fractions(rows, device), self.mean, self.std)}

    def training_batch(self, rows: Rows, device: torch.device, targets: Tensor) -> tuple[Batch, Tensor]:
        """Return the given rows after the random transforms, and their targets; see `Examples`."""
        images, targets = self._fractions(rows, device), targets.to(device)
        for transform in self.transforms:
            images, targets = transform.apply(images, targets, self.classes)
        return {PIXELS: normalized(images, self.mean, self.std)}, targets

    def transformed(self, transforms: Sequence[Any]) -> ImageExamples:
        """Return the rows with random transforms of training batches; those that mix images come last."""
        return replace(self, transforms=tuple(sorted(transforms, key=lambda each: each.last)))

    def _fractions(self, rows: Rows, device: torch.device) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(self.tokens.ids[rows]))
        return pixels.to(device, non_blocking=True).float() / 255
