"""Loss and decoding of centre points; see `harness.models.vision.centre_points`. The grid has h x w cells."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from harness.tasks.object_detection.examples import IGNORED
from harness.tasks.object_detection.matching import MOST

SPREAD = 0.54 / 6  # standard deviation of an object's bump, as a share of its sides: TTFNet's alpha / 6
NARROWEST = 0.4  # least standard deviation, in cells
NEAR = 0.05  # height of the bump from which on a cell says where the sides are
SIDES = 5.0  # weight of the loss of boxes, as in TTFNet
FARTHEST = 6.0  # largest logarithm of a distance in cells


def losses(outputs: Tensor, objects: Tensor) -> Tensor:
    """Return the loss of each image, (n,).

    Heat maps have the focal loss of CornerNet (Law and Deng 2018, arXiv:1808.01244, equation 1), boxes 1 - GIoU
    (Rezatofighi et al. 2019, arXiv:1902.09630) of the cells near a centre. Both are means over the image's objects.

    Args:
        outputs: (n, C + 4, h, w) of a `CentrePointModel`.
        objects: (n, k, 5), see `harness.tasks.object_detection.examples.as_shares`.
    """
    height, width = outputs.shape[-2:]
    known = objects[..., 0] >= 0  # (n, k)
    boxes = objects[..., 1:] * objects.new_tensor([width, height, width, height])
    bumps, centres = _bumps(boxes, known, height, width)
    heat, scores = _heat(bumps, objects[..., 0], outputs.shape[1] - 4), outputs[:, :-4]
    counted = torch.ones_like(heat)
    if bool((objects[..., 0] == IGNORED).any()):
        covered = _inside(boxes, objects[..., 0] == IGNORED, height, width)
        counted = counted * torch.where(covered.unsqueeze(1) & (heat < 1), 0.0, 1.0)
    shares = scores.sigmoid()
    hit = -((1 - shares) ** 2) * functional.logsigmoid(scores)
    missed = -((1 - heat) ** 4) * shares**2 * functional.logsigmoid(-scores)
    numbers = known.sum(1).clamp(min=1)
    focal = (torch.where(heat == 1, hit, missed) * counted).sum((1, 2, 3)) / numbers
    return focal + SIDES * _box_losses(outputs[:, -4:], boxes, bumps, centres) / numbers


def _bumps(boxes: Tensor, known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return a bump (n, k, h, w) at each object, 1 at its centre's cell, and the cells of the centres (n, k, 2)."""
    centres = ((boxes[..., :2] + boxes[..., 2:]) / 2).floor()
    centres = torch.minimum(centres.clamp(min=0), boxes.new_tensor([width - 1, height - 1]))
    sides = boxes[..., 2:] - boxes[..., :2]
    deviations = (SPREAD * sides).clamp(min=NARROWEST)
    across = torch.arange(width, device=boxes.device) - centres[..., :1]  # (n, k, w)
    down = torch.arange(height, device=boxes.device) - centres[..., 1:]
    across = torch.exp(-(across**2) / (2 * deviations[..., :1] ** 2))
    down = torch.exp(-(down**2) / (2 * deviations[..., 1:] ** 2))
    return down.unsqueeze(-1) * across.unsqueeze(-2) * known[..., None, None], centres


def _heat(bumps: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the highest bump of each class in each cell: (n, C, h, w)."""
    heat = bumps.new_zeros(len(bumps), classes, *bumps.shape[-2:])
    index = labels.clamp(min=0).long()[..., None, None].expand_as(bumps)
    return heat.scatter_reduce(1, index, bumps, "amax")


def _inside(boxes: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
    """Return whether the middle of each cell lies in one of the chosen boxes: (n, h, w)."""
    across = torch.arange(width, device=boxes.device) + 0.5
    down = torch.arange(height, device=boxes.device) + 0.5
    within = (across > boxes[..., :1]) & (across < boxes[..., 2:3])  # (n, k, w)
    between = (down > boxes[..., 1:2]) & (down < boxes[..., 3:])
    return (between.unsqueeze(-1) & within.unsqueeze(-2) & chosen[..., None, None]).any(1)


def _box_losses(sides: Tensor, boxes: Tensor, bumps: Tensor, centres: Tensor) -> Tensor:
    """Return the sum over objects of the mean 1 - GIoU of the cells near them, weighted by the bump: (n,)."""
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[..., None, None]
    # A cell near several objects is the smallest one's: (n, h, w).
    near = bumps > NEAR
    owner = torch.where(near, area, torch.inf).argmin(1, keepdim=True)
    owned = torch.zeros_like(near).scatter_(1, owner, value=True) & near
    weights = torch.where(owned, bumps, 0.0)
    weights = weights / weights.sum((2, 3), keepdim=True).clamp(min=1e-6)
    wanted = boxes.gather(1, owner.flatten(1).unsqueeze(-1).expand(-1, -1, 4))  # (n, h * w, 4)
    found = corners(sides).flatten(2).transpose(1, 2)
    apart = 1 - _giou(found, wanted)
    return (weights.sum(1).flatten(1) * apart).sum(1)


def corners(sides: Tensor) -> Tensor:
    """Return left, top, right and bottom (n, 4, h, w) in cells, of the logarithms of the distances to them."""
    distances = sides.clamp(max=FARTHEST).exp()
    down, across = torch.meshgrid(
        torch.arange(sides.shape[2], device=sides.device) + 0.5,
        torch.arange(sides.shape[3], device=sides.device) + 0.5,
        indexing="ij",
    )
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([across - left, down - top, across + right, down + bottom], dim=1)


def _giou(ones: Tensor, others: Tensor) -> Tensor:
    """Return the generalized intersection over union of boxes (..., 4)."""
    common = (torch.minimum(ones[..., 2:], others[..., 2:]) - torch.maximum(ones[..., :2], others[..., :2])).clamp(
        min=0
    )
    hull = torch.maximum(ones[..., 2:], others[..., 2:]) - torch.minimum(ones[..., :2], others[..., :2])
    first, second = ((each[..., 2:] - each[..., :2]).prod(-1) for each in (ones, others))
    shared, whole = common.prod(-1), hull.prod(-1).clamp(min=1e-6)
    union = (first + second - shared).clamp(min=1e-6)
    return shared / union - (whole - union) / whole


def decoded(outputs: Tensor) -> Tensor:
    """Return the peaks of each image, the highest first: (n, k, 6) of class, score, and sides as shares of the image.

    A cell is a peak if none of the eight around it has a higher score in its class.
    """
    classes, (height, width) = outputs.shape[1] - 4, outputs.shape[-2:]
    scores = outputs[:, :-4].sigmoid()
    peaks = scores * (functional.max_pool2d(scores, 3, stride=1, padding=1) == scores)
    best, places = peaks.flatten(1).topk(min(MOST, classes * height * width))
    labels, cells = places // (height * width), places % (height * width)
    boxes = corners(outputs[:, -4:]) / outputs.new_tensor([width, height, width, height]).view(1, 4, 1, 1)
    taken = boxes.flatten(2).transpose(1, 2).gather(1, cells.unsqueeze(-1).expand(-1, -1, 4)).clamp(0, 1)
    return torch.cat([labels.unsqueeze(-1).to(taken.dtype), best.unsqueeze(-1), taken], dim=-1)
