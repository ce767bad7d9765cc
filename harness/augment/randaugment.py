"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719): a few random operations of one strength on each training image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from harness.augment.images import ImageTransform
from harness.errors import Problems

LEVELS = 30  # the paper's strongest magnitude
Operation = Callable[[Any, float], Any]  # of an image and a strength in [-1, 1]


def _enhanced(kind: Any) -> Operation:
    return lambda image, strength: kind(image).enhance(1 + 0.9 * strength)


def _moved(*row: float) -> Operation:
    """Return an operation that maps coordinates by an affine matrix; `row` says what the strength is added to."""
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    def move(image: Any, strength: float) -> Any:
        scale = (1, 1, image.width, 1, 1, image.height)
        matrix = [one + strength * part * size for one, part, size in zip(identity, row, scale, strict=True)]
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)

    return move


# The fourteen of the paper; the largest values are those of its published code.
OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, strength: image,
    "autocontrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "rotate": lambda image, strength: image.rotate(30 * strength, Image.Resampling.BILINEAR),
    "solarize": lambda image, strength: ImageOps.solarize(image, round(256 * (1 - abs(strength)))),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "saturation": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": _moved(0, 0.3, 0, 0, 0, 0),
    "shear_y": _moved(0, 0, 0, 0.3, 0, 0),
    "translate_x": _moved(0, 0, 0.3, 0, 0, 0),
    "translate_y": _moved(0, 0, 0, 0, 0, 0.3),
}


@dataclass(kw_only=True)
class RandAugment(ImageTransform):
    """Random operations on each image, with random signs.

    Attributes:
        operations: number N for each image.
        magnitude: their strength M, of 30.
    """

    operations: int = 2
    magnitude: int = 9

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        problems.whole(f"augment.{self.name}.operations", self.operations)
        self.number("magnitude", 0, LEVELS, problems)

    def apply(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """See `ImageTransform`; computes on the CPU, image by image."""
        pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        drawn = torch.randint(len(OPERATIONS), (len(images), self.operations)).tolist()
        signs = (torch.randint(2, (len(images), self.operations)) * 2 - 1).tolist()
        names = list(OPERATIONS)
        made = []
        for image, chosen, sign in zip(pixels, drawn, signs, strict=True):
            changed = Image.fromarray(image)
            for index, direction in zip(chosen, sign, strict=True):
                changed = OPERATIONS[names[index]](changed, direction * self.magnitude / LEVELS)
            made.append(np.asarray(changed))
        tensor = torch.from_numpy(np.stack(made)).to(images.device).permute(0, 3, 1, 2)
        return tensor.to(images.dtype) / 255, targets
