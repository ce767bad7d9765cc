"""Which predicted boxes are right, and what each image adds to average precision. Imports no torch.

Average precision is the area under the precision-recall curve of all predicted boxes together, ranked by score, so it
is no sum over images. Its derivative by the weight of an image is known all the same, from counts of right boxes: that
is the image's influence (infinitesimal jackknife, Efron 1982), and the variance of the influences gives the sampling
variance over images. docs/decisions/ap-by-influences-of-images.md compares it with a bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.tasks.object_detection.data import Boxes, Objects

MOST = 100  # boxes of an image and class that count, those of the highest score: COCO's largest `maxDets`

Numbers = npt.NDArray[np.float64]


class Found(NamedTuple):
    """The boxes that a model predicts in an image, the highest score first.

    Attributes:
        boxes: (k, 4) left, top, right and bottom in pixels.
        classes: (k,) indices.
        scores: (k,) from 0 to 1.
    """

    boxes: Boxes
    classes: npt.NDArray[np.int64]
    scores: Numbers


class Matched(NamedTuple):
    """The predicted boxes of one class in all images, the highest score first; those of ignored objects left out.

    Attributes:
        right: (T, k) whether a box is right, for each threshold of overlap.
        counts: (T, k) whether a box counts: it does unless it covers an ignored object.
        images: (k,) the image of each.
        true: (n,) objects of each image that are to be found.
    """

    right: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]
    images: npt.NDArray[np.int64]
    true: Numbers


def overlaps(ones: Boxes, others: Boxes, crowds: npt.NDArray[np.bool_]) -> Numbers:
    """Return the intersection over union (k, m) of boxes; with a crowd, the intersection over the first box."""
    least = np.maximum(ones[:, None, :2], others[None, :, :2])
    most = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    common = np.clip(most - least, 0, None).prod(axis=2)
    first, second = (np.clip(each[:, 2:] - each[:, :2], 0, None).prod(axis=1) for each in (ones, others))
    union = np.where(crowds[None, :], first[:, None], first[:, None] + second[None, :] - common)
    values: Numbers = common / np.maximum(union, 1e-12)
    return values


def match(targets: Sequence[Objects], found: Sequence[Found], label: int, thresholds: Sequence[float]) -> Matched:
    """Match the boxes of a class with its objects, as COCO does.

    Each predicted box in turn, the highest score first, takes the free object that it overlaps most, if by at least the
    threshold; ignored objects only if no other one will do, and any number of times.
    """
    limits = np.array(thresholds)
    rights, counted = list[npt.NDArray[np.bool_]](), list[npt.NDArray[np.bool_]]()
    images, scores = list[Numbers](), list[Numbers]()
    true = np.zeros(len(targets))
    for row, (objects, seen) in enumerate(zip(targets, found, strict=True)):
        own = objects.classes == label
        order = np.argsort(objects.ignored[own], kind="stable")
        boxes, ignored = objects.boxes[own][order], objects.ignored[own][order]
        true[row] = (~ignored).sum()
        mine = np.flatnonzero(seen.classes == label)
        mine = mine[np.argsort(-seen.scores[mine], kind="stable")][:MOST]
        right, counts = np.zeros((2, len(limits), len(mine)), dtype=bool)
        counts[:] = True
        shared = overlaps(seen.boxes[mine], boxes, ignored)
        for place, limit in enumerate(limits):
            free = np.ones(len(boxes), dtype=bool)
            for index in range(len(mine)):
                chosen = _chosen(shared[index], free | ignored, ignored, limit)
                if chosen is None:
                    continue
                free[chosen] = False
                right[place, index] = not ignored[chosen]
                counts[place, index] = not ignored[chosen]
        rights.append(right)
        counted.append(counts)
        images.append(np.full(len(mine), row))
        scores.append(seen.scores[mine])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Matched(
        np.concatenate(rights, axis=1)[:, order], np.concatenate(counted, axis=1)[:, order],
        np.concatenate(images)[order].astype(np.int64), true,
    )  # fmt: skip


def _chosen(shared: Numbers, free: npt.NDArray[np.bool_], ignored: npt.NDArray[np.bool_], limit: float) -> int | None:
    """Return the object that a box takes; None without one that it overlaps enough."""
    enough = free & (shared >= min(limit, 1 - 1e-10))
    for group in (enough & ~ignored, enough & ignored):
        if group.any():
            values = np.where(group, shared, -1.0)
            return int(len(values) - 1 - values[::-1].argmax())  # of equal ones the last, as in COCO's code
    return None


def average_precision(matched: Matched, place: int) -> tuple[float, Numbers]:
    """Return the area under the curve of precision, made monotone, and its derivatives (n,) by the weights of images.

    With tp and fp the counts of right and wrong boxes down to a rank, and G the number of objects, the area is the sum
    over right boxes k of P(k) / G, where P(k) is the largest precision tp / (tp + fp) at or below rank k, reached at
    rank m(k). A weight of an image adds its own objects to G, its right boxes to the sum, and its boxes above m(k) to
    tp or fp there.

    Args:
        matched: boxes of a class.
        place: of the threshold.
    """
    images, true = matched.images, matched.true
    total, slopes = float(true.sum()), np.zeros(len(true))
    kept = matched.counts[place]
    right, rows = matched.right[place][kept], images[kept]
    if total == 0 or not right.any():
        return 0.0, slopes
    ranks = np.arange(1, len(right) + 1)
    precision = np.cumsum(right) / ranks
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # The rank at which the envelope of each rank is reached: the next one whose precision is the envelope.
    places = np.where(precision == envelope, np.arange(len(right)), len(right))
    reached = np.minimum.accumulate(places[::-1])[::-1][right]
    area = float(envelope[right].sum()) / total
    # What a box at a rank does to all precisions that are reached at or below it.
    share = np.bincount(reached, minlength=len(right)) / ranks
    below = np.cumsum(share[::-1])[::-1]
    weighted = np.cumsum((share * precision)[::-1])[::-1]
    moved = np.where(right, below, 0.0) - weighted + np.where(right, envelope, 0.0)
    np.add.at(slopes, rows, moved / total)
    return area, slopes - area * true / total
