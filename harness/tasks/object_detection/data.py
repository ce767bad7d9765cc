"""A loaded detection data set: images with boxes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset, Split
from harness.data.images import ImageSource

Boxes = npt.NDArray[np.float64]  # (k, 4): left, top, right, bottom
Sizes = npt.NDArray[np.int64]  # (n, 2): width and height in pixels


class Objects(NamedTuple):
    """The objects of an image: what is to be found in it.

    Attributes:
        boxes: (k, 4) left, top, right and bottom in pixels of the image as it is stored.
        classes: (k,) indices.
        ignored: (k,) whether an object is neither to be found nor wrong to find: COCO's crowds, VOC's difficult ones.
    """

    boxes: Boxes
    classes: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.bool_]


NOTHING = Objects(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.bool_))


@dataclass(frozen=True)
class ObjectSplit(Split):
    """A split whose `texts` are digests of images, or paths, and whose targets (n,) are `Objects`.

    Attributes:
        sizes: (n, 2) width and height of the images in pixels.
    """

    sizes: Sizes = None  # type: ignore[assignment]  # `object_split` gives it

    def take(self, rows: npt.NDArray[np.int64], name: str) -> ObjectSplit:
        """Return a split of some rows, under another name."""
        groups = None if self.groups is None else self.groups[rows]
        texts, objects = [self.texts[row] for row in rows], self.targets[rows].tolist()
        return object_split(name, texts, objects, self.ids[rows], self.sizes[rows], groups)


def object_split(
    name: str,
    texts: Sequence[str],
    objects: Sequence[Objects],
    ids: npt.NDArray[np.int64],
    sizes: Sizes,
    groups: npt.NDArray[np.object_] | None = None,
) -> ObjectSplit:
    """Make a split of n images."""
    targets = as_objects(objects)
    return ObjectSplit(name, list(texts), None, targets, ids, groups=groups, sizes=sizes)


def as_objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    """Return values as an array (n,) of objects, also where they are sequences."""
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        found[place] = value
    return found


@dataclass(frozen=True, kw_only=True)
class DetectionData(Dataset):
    """A data set of images with boxes.

    Attributes:
        labels: the C class names.
        images: where the image with a digest comes from.
        names: what the image with a digest is called: a path in the folder, or a row.
        input_size: height and width to which images are resized; None: as the model's files say.
        least_score: answers with a lower score are not given; metrics count all.
    """

    family: ClassVar[str] = "object_detection"

    labels: tuple[str, ...]
    images: Mapping[str, ImageSource]
    names: Mapping[str, str]
    input_size: tuple[int, int] | None = None
    least_score: float = 0.3

    def needed(self, split: Split) -> npt.NDArray[np.int64]:
        """Return one row with an object, without which there is nothing to fit."""
        found = (row for row, objects in enumerate(split.targets) if len(objects.boxes))
        return np.array([next(found, 0)], dtype=np.int64)
