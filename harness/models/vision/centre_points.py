"""Boxes by centre points: a small head on the feature maps of a backbone that was trained to classify images.

Each object is the peak of a heat map of its class, and the cells around it say how far the sides of its box are (Zhou
et al. 2019, Objects as points, arXiv:1904.07850; the distances of all cells near the centre, and not only of its own,
as in Liu et al. 2019, TTFNet, arXiv:1909.00700). Maps of several strides are joined from the coarsest to the finest
(Lin et al. 2017, arXiv:1612.03144).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.examples import STATES, Batch
from harness.errors import HarnessError
from harness.models.image_files.image_architectures import BOXES
from harness.models.image_files.image_pooling import PIXELS, before_patches, image_inputs
from harness.models.pooling import widened
from harness.models.vision.image_model import ImageModel

FINEST, COARSEST = 8, 32  # strides of the maps that are used, if the backbone has them
CHANNELS = 96  # of the head
GROUPS = 8  # of its normalizations: batches may be small, and saved models hold parameters only
RARE = 0.01  # probability of an object at a cell before training, so that the many empty ones do not swamp the loss
SIZE = "size"  # key of a batch: (2,) height and width of its images in pixels
PROBE = 256  # pixels of a side of the image whose maps give the channels


class CentrePointHead(nn.Module):
    """Heat maps and distances of feature maps.

    Args:
        channels: of each map, the finest first.
        classes: C.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_layer(inputs, 1) for inputs in channels)
        self.tower = nn.Sequential(_layer(CHANNELS, 3), _layer(CHANNELS, 3))
        self.heat = nn.Conv2d(CHANNELS, classes, 1)
        self.sides = nn.Conv2d(CHANNELS, 4, 1)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return (n, C + 4, h, w): logits of the classes, and logarithms of distances in cells.

        Args:
            maps: (n, c, h, w) each, the finest first.
            size: h and w of the result.
        """
        joined: Tensor | None = None
        for lateral, each in zip(reversed(self.laterals), reversed(maps), strict=True):
            own: Tensor = lateral(each)
            joined = own if joined is None else own + functional.interpolate(joined, size=own.shape[-2:])
        assert joined is not None
        if joined.shape[-2:] != size:
            joined = functional.interpolate(joined, size=size, mode="bilinear", align_corners=False)
        inner = self.tower(joined)
        return torch.cat([self.heat(inner), self.sides(inner)], dim=1)

    def reset(self) -> None:
        """Draw the weights from torch's generator."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in (self.heat, self.sides):
            nn.init.normal_(module.weight, std=0.01)
        assert self.heat.bias is not None and self.sides.bias is not None
        nn.init.constant_(self.heat.bias, math.log(RARE / (1 - RARE)))
        nn.init.constant_(self.sides.bias, math.log(3.0))  # cells


class CentrePointModel(ImageModel):
    """A backbone that reads images, with a `CentrePointHead`.

    A batch that brings the maps of its images (`STATES`, see `flat_maps`) does not pass through the backbone.

    Args:
        backbone: an `AutoModel` that gives feature maps, or vectors of patches.
        classes: number of classes C.
    """

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__(backbone, BOXES, classes)
        channels = [each.shape[1] for each in feature_maps(backbone.eval(), _empty(backbone, (PROBE, PROBE)))]
        self.head = CentrePointHead(channels, classes)
        self._shapes: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def forward(self, batch: Batch) -> Tensor:
        """Return what the head gives, (n, C + 4, h, w) float32; the grid has a cell for `FINEST` pixels or so."""
        assert self.head is not None
        size = tuple(int(each) for each in batch[SIZE].tolist())
        if STATES in batch:
            maps = self.unflattened(batch[STATES], (size[0], size[1]))
        else:
            maps = feature_maps(self.backbone, batch[PIXELS])
        grid = max(-(-size[0] // FINEST), maps[0].shape[-2]), max(-(-size[1] // FINEST), maps[0].shape[-1])
        with torch.autocast(maps[0].device.type, enabled=False):
            made: Tensor = self.head([each.float() for each in maps], grid)
            return made

    def features(self, batch: Batch) -> Tensor:
        """Return the maps of a batch side by side: (n, d) float32, unnormalized."""
        return torch.cat([each.float().flatten(1) for each in feature_maps(self.backbone, batch[PIXELS])], dim=1)

    def shapes(self, size: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Return the shape (c, h, w) of each map of an image of a height and width."""
        if size not in self._shapes:
            with torch.no_grad():
                maps = feature_maps(self.backbone, _empty(self.backbone, size))
            self._shapes[size] = [(each.shape[1], each.shape[2], each.shape[3]) for each in maps]
        return self._shapes[size]

    def unflattened(self, values: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Return the maps that `features` put side by side."""
        shapes = self.shapes(size)
        parts = torch.split(values, [math.prod(shape) for shape in shapes], dim=1)
        return [part.reshape(len(values), *shape) for part, shape in zip(parts, shapes, strict=True)]

    def reset_head(self) -> None:
        """Draw the head from torch's generator."""
        assert isinstance(self.head, CentrePointHead)
        self.head.reset()


def feature_maps(backbone: Any, pixels: Tensor) -> list[Tensor]:
    """Return the last feature map of each stride from `FINEST` to `COARSEST`, the finest first: (n, c, h, w) each.

    Of an architecture with tokens, the vectors of the patches as the one map.

    Raises:
        HarnessError: the architecture gives neither.
    """
    inputs = image_inputs(backbone, pixels)
    output = backbone(**inputs, output_hidden_states=True)
    # Some architectures keep tokens as hidden states, and give maps besides.
    states = getattr(output, "reshaped_hidden_states", None) or getattr(output, "hidden_states", None) or ()
    maps = {}
    for state in states:
        if state.ndim == 4 and state.shape[-1] < pixels.shape[-1]:
            stride = pixels.shape[-1] / state.shape[-1]
            if FINEST * 0.75 <= stride <= COARSEST * 1.5:
                maps[state.shape[-2:]] = widened(state)
    if maps:
        return sorted(maps.values(), key=lambda each: -each.shape[-1])
    last = widened(output.last_hidden_state)
    if last.ndim == 4:
        return [last]
    patch = getattr(backbone.config, "patch_size", None)
    sides: list[Any] = list(patch) if isinstance(patch, list | tuple) else [patch, patch]
    if last.ndim == 3 and isinstance(sides[0], int):
        height, width = pixels.shape[-2] // sides[0], pixels.shape[-1] // sides[1]
        tokens = last[:, before_patches(backbone) :]
        if tokens.shape[1] == height * width:
            return [tokens.transpose(1, 2).reshape(len(last), -1, height, width)]
    raise HarnessError(
        f"{backbone.config.model_type} gives no feature maps to find objects in: name a model such as "
        "efficientnet-lite0, resnet-50 or dinov2-small, or a detector (model=rt-detr-r18)."
    )


def _layer(inputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, CHANNELS, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, CHANNELS), nn.ReLU())


def _empty(backbone: nn.Module, size: tuple[int, int]) -> Tensor:
    like = next((each for each in backbone.parameters() if each.is_floating_point()), torch.zeros(()))
    return torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device)
