"""The generated detection task: colored shapes on busy backgrounds; needs no download.

Each image has one to a few shapes of three classes, of any size, color and place; they may overlap a little. Noise and
lines behind the shapes make small ones hard.
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
from harness.tasks.object_detection.rows import Annotated, Corners, Rows
from harness.tasks.object_detection.settings import DetectionTask

# Corners on a circle, and the radius of every second one: 1 makes a polygon, less a star.
SHAPES = {"disc": (32, 1.0), "triangle": (3, 1.0), "star": (10, 0.45)}
APART = 0.6  # least distance of two centres, as a share of the sum of their radii


@dataclass(kw_only=True)
class DemoDetection(DetectionTask):
    """Generated images of shapes. The same fields give the same images on every machine."""

    train_images: int = 80
    validation_images: int = 30
    test_images: int = 60
    size: int = 96  # height and width in pixels
    most: int = 4  # shapes of an image
    noise: float = 0.08  # standard deviation of the noise, as a share of the brightness
    data_seed: int = 0  # of the images

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        counts = {"train_images": 2, "validation_images": 2, "test_images": 2}
        return super().least_values() | counts | {"size": 48, "most": 1, "data_seed": 0}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        noise = self.noise
        good = isinstance(noise, int | float) and not isinstance(noise, bool) and 0 <= noise < 1
        problems.check(good, f"task.noise must lie in [0, 1), not {noise!r}.")
        for key, most in (("size", 512), ("most", 12)):
            value = getattr(self, key)
            problems.check(
                not isinstance(value, int) or value <= most, f"task.{key} must be at most {most}, not {value}."
            )

    def read(self) -> tuple[dict[str, Rows], str]:
        """Generate the three splits."""
        return {split: self._rows(split) for split in SPLITS}, f"generated, seed {self.data_seed}"

    def _rows(self, split: str) -> Rows:
        draw = np.random.default_rng([self.data_seed, SPLITS.index(split)])
        return Rows([self._image(split, row, draw) for row in range(getattr(self, f"{split}_images"))])

    def _image(self, split: str, row: int, draw: np.random.Generator) -> Annotated:
        from PIL import Image, ImageDraw

        size, back = self.size, draw.integers(0, 256, 3)
        drawing = Image.new("RGB", (size, size), tuple(back.tolist()))
        canvas = ImageDraw.Draw(drawing)
        for _ in range(4):  # lines behind the shapes
            canvas.line(draw.uniform(0, size, 4).tolist(), fill=tuple(draw.integers(0, 256, 3).tolist()))
        placed = list[tuple[float, float, float]]()
        objects = list[tuple[str, Corners, bool]]()
        wanted = int(draw.integers(1, self.most + 1))
        while len(objects) < wanted:
            radius = size * draw.uniform(0.08, 0.2)
            x, y = draw.uniform(radius, size - radius, 2)
            if any(math.dist((x, y), other[:2]) < APART * (radius + other[2]) for other in placed):
                wanted -= draw.random() < 0.1  # a full image ends the search
                continue
            front = draw.integers(0, 256, 3)
            while np.abs(back - front).sum() < 200:  # so that the outline can be seen
                front = draw.integers(0, 256, 3)
            shape = str(draw.choice(list(SHAPES)))
            corners = _corners(shape, x, y, radius, draw.uniform(0, 2 * math.pi))
            canvas.polygon(corners, fill=tuple(front.tolist()))
            placed.append((x, y, radius))
            across, down = zip(*corners, strict=True)
            objects.append((shape, (min(across), min(down), max(across), max(down)), False))
        noise: Any = draw.normal(0, 255 * self.noise, (size, size, 3))
        values: npt.NDArray[np.uint8] = np.clip(np.asarray(drawing) + noise, 0, 255).astype(np.uint8)
        return Annotated(ArrayImage(values), f"{split} {row}", (size, size), objects, row)


def _corners(shape: str, x: float, y: float, radius: float, turn: float) -> list[tuple[float, float]]:
    count, inner = SHAPES[shape]
    return [
        (x + radius * factor * math.cos(angle), y + radius * factor * math.sin(angle))
        for corner in range(count)
        for factor, angle in [(1.0 if corner % 2 == 0 else inner, turn + 2 * math.pi * corner / count)]
    ]
