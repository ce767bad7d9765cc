"""A loaded image data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.data.images import ImageSource
from harness.tasks.text_classification.data import ClassificationData


@dataclass(frozen=True, kw_only=True)
class ImageData(ClassificationData):
    """A data set whose `texts` are digests of images, and whose targets are class indices.

    Attributes:
        images: where the image with a digest comes from.
        names: what the image with a digest is called: a path in the folder, or a row.
    """

    family: ClassVar[str] = "image_classification"

    images: Mapping[str, ImageSource]
    names: Mapping[str, str]
