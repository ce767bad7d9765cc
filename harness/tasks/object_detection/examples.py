"""Images of a split with their boxes, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.examples import STATES, Batch, Examples, Rows
from harness.models.image_files.image_pooling import PIXELS
from harness.models.vision.centre_points import SIZE
from harness.models.vision.detector import OBJECTS
from harness.models.vision.image_model import normalized
from harness.tasks.object_detection.data import Objects, Sizes

NONE, IGNORED = -1, -2  # in the place of a class: no object; one that is neither to be found nor wrong to find


@dataclass(frozen=True)
class DetectionExamples(Examples):
    """Rows whose token is an image: `tokens.ids` is (n, 3, height, width) uint8; targets (n,) are `Objects`.

    `states` are (n * versions, d): the maps of a frozen backbone, of each version of an image (`versions_of`).

    Attributes:
        sizes: (n, 2) width and height of the images as they are stored.
        mean, std: of each channel, of values in [0, 1].
        transforms: of training batches, in order (`harness.augment.images.ImageTransform`).
    """

    sizes: Sizes = None  # type: ignore[assignment]  # the runtime gives it
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    transforms: tuple[Any, ...] = ()

    @property
    def rowwise(self) -> bool:
        """No: the size of the images is that of all rows."""
        return False

    def digest(self) -> str:
        """Return the SHA-256 of the images and their normalization as hex digits."""
        content = hashlib.sha256(repr((self.tokens.ids.shape, self.mean, self.std)).encode())
        for start in range(0, len(self.tokens.ids), 64):  # in parts: mapped files may be larger than memory
            content.update(np.ascontiguousarray(self.tokens.ids[start : start + 64]).tobytes())
        return content.hexdigest()

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows: pixels (b, 3, h, w) or maps, objects (b, k, 5), and the size of the images."""
        return self.version(rows, device, 0)

    def version(self, rows: Rows, device: torch.device, number: int) -> Batch:
        """Return the given rows with their images in one of their versions; objects are those of version 0."""
        made = self._common(rows, device)
        if self.states is not None:
            return made | {STATES: self._states(rows, np.full(len(rows), number), device)}
        images = self._fractions(rows, device)
        for axis, bit in ((-1, 1), (-2, 2)):
            images = images.flip(axis) if number & bit else images
        return made | {PIXELS: normalized(images, self.mean, self.std)}

    def training_batch(self, rows: Rows, device: torch.device, targets: Tensor) -> tuple[Batch, Tensor]:
        """Return the given rows after the random transforms, and their objects (b, k, 5); see `Examples`."""
        made = self._common(rows, device)
        versions = np.zeros(len(rows), dtype=np.int64)
        images = None if self.states is not None else self._fractions(rows, device)
        for transform in self.transforms:
            if transform.axis is not None:
                chosen = transform.drawn(len(rows))
                made[OBJECTS] = mirrored(made[OBJECTS], chosen.to(device), transform.axis)
                versions ^= chosen.numpy() * (1 if transform.axis == -1 else 2)
                if images is not None:
                    images = torch.where(chosen.to(device).view(-1, 1, 1, 1), images.flip(transform.axis), images)
            elif images is not None:
                images, _ = transform.apply(images, made[OBJECTS], 0)
        if images is None:
            made[STATES] = self._states(rows, versions, device)
        else:
            made[PIXELS] = normalized(images, self.mean, self.std)
        return made, made[OBJECTS]

    def transformed(self, transforms: Sequence[Any]) -> DetectionExamples:
        """Return the rows with random transforms of training batches."""
        return replace(self, transforms=tuple(transforms))

    def _common(self, rows: Rows, device: torch.device) -> Batch:
        height, width = self.tokens.ids.shape[2:]
        objects = as_shares(self.targets[rows].tolist(), self.sizes[rows])
        return {OBJECTS: objects.to(device), SIZE: torch.tensor([height, width])}

    def _states(self, rows: Rows, versions: Rows, device: torch.device) -> Tensor:
        assert self.states is not None
        count = len(self.states) // len(self)
        return torch.from_numpy(np.ascontiguousarray(self.states[rows * count + versions])).to(device)

    def _fractions(self, rows: Rows, device: torch.device) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(self.tokens.ids[rows]))
        return pixels.to(device, non_blocking=True).float() / 255


def as_shares(targets: Sequence[Objects], sizes: Sizes) -> Tensor:
    """Return objects (n, k, 5): class, left, top, right and bottom as shares of the image; see `NONE`, `IGNORED`."""
    most = max((len(each.boxes) for each in targets), default=0)
    made = np.full((len(targets), max(most, 1), 5), float(NONE), dtype=np.float32)
    for row, (objects, size) in enumerate(zip(targets, sizes, strict=True)):
        made[row, : len(objects.boxes), 0] = np.where(objects.ignored, IGNORED, objects.classes)
        made[row, : len(objects.boxes), 1:] = objects.boxes / np.tile(size, 2)
    return torch.from_numpy(made)


def mirrored(objects: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """Return objects (n, k, 5) with those of the chosen images (n,) mirrored along an axis of the images."""
    low, high = (1, 3) if axis == -1 else (2, 4)
    other = objects.clone()
    other[..., low], other[..., high] = 1 - objects[..., high], 1 - objects[..., low]
    return torch.where(chosen.view(-1, 1, 1), other, objects)
