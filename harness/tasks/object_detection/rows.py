"""Annotated images as sources give them, and what is wrong with their boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.data.images import ImageSource

Corners = tuple[float, float, float, float]  # left, top, right, bottom in pixels
SLACK = 1e-3  # pixels that a box may reach beyond its image: sums of decimal fractions are not exact


@dataclass(frozen=True)
class Annotated:
    """An image with its objects, as a source gives them.

    Attributes:
        image: where it comes from.
        name: what it is called in messages and reports.
        size: width and height that the annotation states; None if it states none.
        objects: class, box, and whether it is ignored (see `Objects`), of each.
        id: row number in the source, counted from 0.
    """

    image: ImageSource
    name: str
    size: tuple[int, int] | None
    objects: Sequence[tuple[str, Corners, bool]]
    id: int


@dataclass
class Rows:
    """The images of a split.

    Attributes:
        images: n of them.
        classes: the names that the source lists; () if it lists none.
        notes: sentences for the user.
    """

    images: list[Annotated]
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return `count` finite numbers; None if the values are something else."""
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    try:
        found = tuple(float(value) for value in values)
    except OverflowError:  # JSON's whole numbers have no limit
        return None
    return found if all(map(math.isfinite, found)) else None


def fault(box: Corners, size: tuple[int, int]) -> str | None:
    """Return what is wrong with a box in an image of a size: `no size`, `outside`, `beyond`; None if nothing is."""
    (left, top, right, bottom), (width, height) = box, size
    if right <= left or bottom <= top:
        return "no size"
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return "outside"
    beyond = left < -SLACK or top < -SLACK or right > width + SLACK or bottom > height + SLACK
    return "beyond" if beyond else None


def cut(box: Corners, size: tuple[int, int]) -> Corners:
    """Return the part of a box that lies within an image of a size."""
    (left, top, right, bottom), (width, height) = box, size
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
