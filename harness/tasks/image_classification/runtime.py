"""Image classification in training, evaluation and serving."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from torch import nn

from harness.api.metric import Predictions
from harness.data.dataset import Split
from harness.data.examples import Examples
from harness.data.images import ImageSource, ReadyImage, open_all, received_image
from harness.data.tokenization import Encoding, Tokens
from harness.tasks.image_classification.data import ImageData
from harness.tasks.image_classification.examples import ImageExamples
from harness.tasks.image_classification.serving import read_images
from harness.tasks.text_classification.runtime import TextClassificationRuntime

PART = 128  # images that are decoded and resized together
THUMBNAIL = 64  # longest side of a stored thumbnail, in pixels
THUMBNAILS = 500  # most thumbnails of a run: of the test rows that it misses


@dataclass(frozen=True)
class ImageClassificationRuntime(TextClassificationRuntime):
    """As for texts, outputs are logits (n, C), targets class indices (n,), predictions class probabilities (n, C).

    Attributes:
        images, names: see `ImageData`; empty for a saved model, which is given paths.
    """

    family: ClassVar[str] = "image_classification"

    images: Mapping[str, ImageSource] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_data(cls, data: ImageData) -> Self:  # type: ignore[override]  # the data of its own family
        """See `TaskRuntime`."""
        return cls(data.labels, (), data.images, data.names)

    def described(self) -> None:  # type: ignore[override]  # classes are not described to a model that reads no texts
        """Return nothing: these models read no texts that could describe a class."""
        return

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """Decode images and resize them as the model's processor does."""
        return Encoding(f"images 1 {tokenizer.key}", lambda split: self._encode(split, tokenizer))

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join a split's images and targets."""
        return ImageExamples(tokens, split.targets, 0, mean=tokenizer.mean, std=tokenizer.std, classes=len(self.labels))

    def received(self, data: bytes, processor: Any, pixels: int, seconds: float) -> ReadyImage:
        """Decode and resize an image; see `TaskRuntime`."""
        image = received_image(data, pixels)
        return ReadyImage(processor.pixels([image])[0], image.size)

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what is stored of texts, the names of the images, and thumbnails of missed test rows."""
        import pyarrow as pa

        columns, metadata = super().stored(split, predictions)
        columns["image"] = [self.names.get(each, each) for each in split.texts]
        missed = np.flatnonzero(predictions.argmax(axis=1) != split.targets) if split.name == "test" else np.zeros(0)
        small: list[bytes | None] = [None] * len(split)
        for row in missed[:THUMBNAILS].astype(int).tolist():
            small[row] = thumbnail(open_all([split.texts[row]], self.images)[0])
        columns["thumbnail"] = pa.array(small, pa.binary())
        return columns, metadata

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Any, list[list[str]]]:
        """Read a folder of images, or a table with a column of paths; see `TaskRuntime`."""
        return read_images(file, columns, how)

    def _encode(self, split: Split, processor: Any) -> Tokens:
        parts = [self._pixels(split.texts[start : start + PART], processor) for start in range(0, len(split), PART)]
        # The type of token ids is that of texts; here they are bytes.
        pixels: Any = np.concatenate(parts)
        return Tokens(ids=pixels, offsets=np.arange(len(split) + 1, dtype=np.int64), types=None, truncated=0)

    def _pixels(self, references: Sequence[Any], processor: Any) -> Any:
        ready = [each.pixels for each in references if isinstance(each, ReadyImage)]
        return np.stack(ready) if ready else processor.pixels(open_all(references, self.images))


def thumbnail(image: Any) -> bytes:
    """Return a small copy of an RGB image as PNG; small images keep their pixels."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    small.save(content, "PNG", optimize=True)
    return content.getvalue()
