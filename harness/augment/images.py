"""Random transforms of training images: flip, crop, color, mixup. Each epoch draws them anew; other rows never get any.

They are written in plain torch, on batches, on the device: the usual library for them is not to be had beside this
torch (docs/decisions/image-transforms-in-plain-torch.md). Random numbers come from torch's generator, which is the
session's own stream in training: the same seed gives the same images, also after an interruption.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import Problems


@dataclass(kw_only=True)
class ImageTransform(ABC):
    """A random transform of a batch of training images.

    Attributes:
        name: the file's name in conf/augment.
        last: whether it comes after the others, whatever their order, because it mixes images.
        axis: of the images (b, 3, h, w) that it reverses, as its `drawn` says; None: it does something else.
    """

    last: ClassVar[bool] = False
    axis: ClassVar[int | None] = None

    name: str

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            HarnessError: some fields are invalid; names all of them.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()

    @abstractmethod
    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""

    def ready(self, cache_dir: Path) -> list[str]:
        """Return the digests of models that it needs: none."""
        return []

    def number(self, key: str, least: float, most: float, problems: Problems) -> None:
        """Add a problem if a field is no number from `least` to `most`."""
        value = getattr(self, key)
        good = not isinstance(value, bool) and isinstance(value, int | float) and least <= value <= most
        problems.check(good, f"augment.{self.name}.{key} must lie in [{least:g}, {most:g}], not {value}.")

    @abstractmethod
    def apply(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Transform a batch.

        Args:
            images: (b, 3, h, w), values in [0, 1].
            targets: (b,) class indices, or (b, C) shares of classes.
            classes: C.

        Returns:
            Images and targets of the same number.
        """


@dataclass(kw_only=True)
class Flip(ImageTransform):
    """Mirror images left to right.

    Attributes:
        probability: of an image.
    """

    axis = -1

    probability: float = 0.5

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        self.number("probability", 0, 1, problems)

    def apply(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """See `ImageTransform`."""
        chosen = self.drawn(len(images)).to(images.device).view(-1, 1, 1, 1)
        return torch.where(chosen, images.flip(int(self.axis or 0)), images), targets

    def drawn(self, count: int) -> Tensor:
        """Draw which images are mirrored: (count,) bool."""
        return torch.rand(count) < self.probability


@dataclass(kw_only=True)
class VerticalFlip(Flip):
    """Mirror images top to bottom, where up and down mean nothing, as under a microscope."""

    axis = -2


@dataclass(kw_only=True)
class RandomResizedCrop(ImageTransform):
    """Cut out a random rectangle and stretch it to the whole image (Szegedy et al. 2015, section 6).

    Attributes:
        least: smallest share of the area that is kept.
        ratio: largest ratio of the rectangle's sides.
    """

    least: float = 0.35
    ratio: float = 1.333

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        self.number("least", 0.01, 1, problems)
        self.number("ratio", 1, 10, problems)

    def apply(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """See `ImageTransform`."""
        count = len(images)
        area = self.least + (1 - self.least) * torch.rand(count)
        stretch = torch.exp((2 * torch.rand(count) - 1) * math.log(self.ratio))
        width, height = (area * stretch).sqrt().clamp(max=1), (area / stretch).sqrt().clamp(max=1)
        across, down = (1 - width) * (2 * torch.rand(count) - 1), (1 - height) * (2 * torch.rand(count) - 1)
        zero = torch.zeros(count)
        # In coordinates from -1 to 1, as `affine_grid` takes them.
        matrix = torch.stack([torch.stack([width, zero, across], 1), torch.stack([zero, height, down], 1)], 1)
        grid = functional.affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False), targets


@dataclass(kw_only=True)
class Color(ImageTransform):
    """Change brightness, contrast and saturation by random factors.

    Attributes:
        brightness, contrast, saturation: largest distance of the factor from 1.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        for key in ("brightness", "contrast", "saturation"):
            self.number(key, 0, 1, problems)

    def apply(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """See `ImageTransform`."""

        def factor(most: float) -> Tensor:
            return (1 + most * (2 * torch.rand(len(images)) - 1)).to(images.device).view(-1, 1, 1, 1)

        weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # luma of ITU-R BT.601
        images = (images * factor(self.brightness)).clamp(0, 1)
        mean = (images * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
        images = (mean + (images - mean) * factor(self.contrast)).clamp(0, 1)
        gray = (images * weights).sum(1, keepdim=True)
        return (gray + (images - gray) * factor(self.saturation)).clamp(0, 1), targets


@dataclass(kw_only=True)
class Mixup(ImageTransform):
    """Mix each image with another one of its batch, and their labels alike (Zhang et al. 2018, arXiv:1710.09412).

    Attributes:
        alpha: of the Beta distribution of the share; 0.2 to 0.4 in the paper on ImageNet.
    """

    last: ClassVar[bool] = True

    alpha: float = 0.2

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        self.number("alpha", 0.01, 100, problems)

    def apply(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """See `ImageTransform`."""
        share = torch.distributions.Beta(self.alpha, self.alpha).sample().item()
        others = torch.randperm(len(images))
        shares = functional.one_hot(targets, classes).to(images.dtype) if targets.ndim == 1 else targets
        mixed = share * images + (1 - share) * images[others.to(images.device)]
        return mixed, share * shares + (1 - share) * shares[others.to(shares.device)]


def versions_of(transforms: Sequence[ImageTransform]) -> int | None:
    """Return how many versions of an image transforms make: 1, 2 or 4 by mirroring; None for any number.

    Bit 0 of a version's number says whether it is mirrored left to right, bit 1 whether top to bottom.
    """
    axes = {each.axis for each in transforms}
    if None in axes:
        return None
    return 4 if -2 in axes else 2 if -1 in axes else 1


def in_order(transforms: Any) -> list[ImageTransform]:
    """Return transforms in the order in which they apply: those that mix images come last."""
    return sorted(transforms, key=lambda each: each.last)
