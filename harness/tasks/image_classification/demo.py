"""The generated image task: colored shapes on busy backgrounds; needs no download.

A class is a shape: what tells them apart is the outline, since color, size, place, rotation and background are drawn
anew for each image. Noise and a share of wrong labels keep every score below 100 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.images import ArrayImage
from harness.data.readers.rows import SPLITS
from harness.errors import Problems
from harness.tasks.image_classification.settings import ImageTask
from harness.tasks.image_classification.sources import ImageTable

# Corners on a circle, and the radius of every second one: 1 makes a polygon, less a star.
SHAPES = {
    "circle": (32, 1.0), "triangle": (3, 1.0), "square": (4, 1.0), "pentagon": (5, 1.0), "star": (10, 0.45),
    "cross": (8, 0.25),
}  # fmt: skip


@dataclass(kw_only=True)
class DemoImages(ImageTask):
    """Generated images of six shapes. The same fields give the same images on every machine."""

    train_per_class: int = 40  # training images of a shape
    validation_per_class: int = 15
    test_per_class: int = 40
    size: int = 48  # height and width in pixels
    noise: float = 0.15  # standard deviation of the noise, as a fraction of the brightness
    label_noise: float = 0.03  # share of rows with the label of another shape
    data_seed: int = 0  # of the images

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        counts = {"train_per_class": 1, "validation_per_class": 1, "test_per_class": 1}
        return super().least_values() | counts | {"size": 16, "data_seed": 0}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name in ("noise", "label_noise"):
            value = getattr(self, name)
            holds = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
            problems.check(holds, f"task.{name} must lie in [0, 1), not {value!r}.")
        problems.check(
            not isinstance(self.size, int) or self.size <= 512, f"task.size must be at most 512, not {self.size}."
        )

    def tables(self) -> tuple[dict[str, ImageTable], str]:
        """Generate the three splits."""
        return {split: self._split(split) for split in SPLITS}, f"generated, seed {self.data_seed}"

    def _split(self, split: str) -> ImageTable:
        draw = np.random.default_rng([self.data_seed, SPLITS.index(split)])
        shapes = [shape for shape in SHAPES for _ in range(getattr(self, f"{split}_per_class"))]
        images = [ArrayImage(self._image(shape, draw)) for shape in shapes]
        labels = list(shapes)
        for row in np.flatnonzero(draw.random(len(labels)) < self.label_noise).tolist():
            labels[row] = str(draw.choice([shape for shape in SHAPES if shape != shapes[row]]))
        order = draw.permutation(len(labels)).tolist()
        names = [f"{split} {row}" for row in range(len(order))]
        return ImageTable([images[row] for row in order], names, [labels[row] for row in order])

    def _image(self, shape: str, draw: np.random.Generator) -> npt.NDArray[np.uint8]:
        from PIL import Image, ImageDraw

        back, front = draw.integers(0, 256, (2, 3))
        while np.abs(back - front).sum() < 200:  # so that the outline can be seen
            front = draw.integers(0, 256, 3)
        picture = Image.new("RGB", (self.size, self.size), tuple(back.tolist()))
        canvas = ImageDraw.Draw(picture)
        for _ in range(3):  # lines behind the shape
            canvas.line(draw.uniform(0, self.size, 4).tolist(), fill=tuple(draw.integers(0, 256, 3).tolist()))
        canvas.polygon(self._corners(shape, draw), fill=tuple(front.tolist()))
        noise: Any = draw.normal(0, 255 * self.noise, (self.size, self.size, 3))
        values: npt.NDArray[np.uint8] = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
        return values

    def _corners(self, shape: str, draw: np.random.Generator) -> list[tuple[float, float]]:
        corners, inner = SHAPES[shape]
        radius = self.size * draw.uniform(0.2, 0.38)
        x, y = draw.uniform(radius, self.size - radius, 2)
        turn = draw.uniform(0, 2 * math.pi)
        return [
            (x + radius * factor * math.cos(angle), y + radius * factor * math.sin(angle))
            for place in range(corners)
            for factor in (1.0 if place % 2 == 0 else inner,)
            for angle in (turn + 2 * math.pi * place / corners,)
        ]
