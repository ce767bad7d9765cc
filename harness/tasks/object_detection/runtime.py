"""Object detection in training, evaluation and serving."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.api.heads import LinearHead
from harness.api.metric import Predictions, Targets
from harness.data.dataset import Split
from harness.data.examples import Examples
from harness.data.images import ImageSource, ReadyImage, open_all, received_image
from harness.data.readers.file_formats import Table
from harness.data.tokenization import Encoding, Tokens
from harness.models.image_files.image_architectures import DETECTORS
from harness.models.inference import autocast
from harness.models.network import AdaptedModel
from harness.models.vision.centre_points import CentrePointModel
from harness.models.vision.detector import OBJECTS, DetectorModel
from harness.tasks.image_classification.serving import read_images
from harness.tasks.object_detection.centre_points import decoded, losses
from harness.tasks.object_detection.data import DetectionData, ObjectSplit, as_objects
from harness.tasks.object_detection.examples import DetectionExamples
from harness.tasks.object_detection.matching import MOST, Found
from harness.tasks.object_detection.metrics import DETECTED
from harness.tasks.object_detection.serving import asked_split, listed, write_coco
from harness.tasks.runtime import Features, TaskRuntime

PART = 64  # images that are decoded and resized together
PICTURES = 24  # test images of a run whose small copies are stored, for its report
PICTURE = 360  # longest side of one, in pixels
LEAST_STORED = 0.01  # score of the boxes that are stored


@dataclass(frozen=True)
class ObjectDetectionRuntime(TaskRuntime):
    """Outputs are those of a `CentrePointModel` or a `DetectorModel`; predictions are records (`DETECTED`).

    Attributes:
        labels, images, names, input_size, least_score: see `DetectionData`; a saved model is given paths, not images.
    """

    family: ClassVar[str] = "object_detection"
    own_files: ClassVar[tuple[str, ...]] = (".json",)

    labels: tuple[str, ...]
    input_size: tuple[int, int] | None = None
    least_score: float = 0.3
    images: Mapping[str, ImageSource] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_data(cls, data: DetectionData) -> Self:
        """See `TaskRuntime`."""
        return cls(data.labels, data.input_size, data.least_score, data.images, data.names)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        size = facts["input_size"]
        return cls(tuple(facts["classes"]), None if size is None else (size[0], size[1]), facts["least_score"])

    def facts(self) -> dict[str, Any]:
        """Return the classes, the size of the input, and the least score of an answer."""
        size = None if self.input_size is None else list(self.input_size)
        return {"classes": list(self.labels), "input_size": size, "least_score": self.least_score}

    @property
    def outputs(self) -> int:  # type: ignore[override]  # follows from the classes
        """Number C of classes."""
        return len(self.labels)

    def network(self, backbone: nn.Module, pooling: str) -> AdaptedModel:
        """Return a detector, or a backbone with a head that finds centre points."""
        config: Any = backbone.config
        kind = DetectorModel if config.model_type in DETECTORS else CentrePointModel
        return kind(backbone, self.outputs)

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """Decode images and stretch them to one size."""
        size = self.input_size or tokenizer.sides
        return Encoding(f"boxes 1 {size} {tokenizer.key}", lambda split: self._encode(split, size))

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join a split's images and objects."""
        assert isinstance(split, ObjectSplit)
        return DetectionExamples(
            tokens, split.targets, 0, sizes=split.sizes, mean=tokenizer.mean, std=tokenizer.std
        )  # fmt: skip

    def asked(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Split:
        """Make a split of paths of images, or of images."""
        return asked_split(texts)

    def received(self, data: bytes, processor: Any, pixels: int, seconds: float) -> ReadyImage:
        """Decode an image and stretch it; see `TaskRuntime`."""
        image = received_image(data, pixels)
        return ReadyImage(_stretched(image, self.input_size or processor.sides), image.size)

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Return the boxes that a network finds in n images, and the loss of each."""
        assert isinstance(examples, DetectionExamples)
        made = np.zeros(len(examples), dtype=DETECTED)
        known = any(len(row.boxes) for row in examples.targets)  # not in images that are asked about
        for start in range(0, len(examples), batch_size):
            rows = np.arange(start, min(start + batch_size, len(examples)))
            batch = examples.batch(rows, device)
            with torch.no_grad(), autocast(device, precision):
                outputs = network(batch)
                if not isinstance(network, DetectorModel):
                    own = losses(outputs, batch[OBJECTS])
                elif known:
                    own = network.losses(batch)
                else:
                    own = torch.zeros(len(rows))
            boxes = of_queries(outputs) if isinstance(network, DetectorModel) else decoded(outputs)
            made["loss"][rows] = own.float().cpu().numpy()
            made["found"][rows] = as_objects(
                [_in_pixels(each, examples.sizes[row]) for row, each in zip(rows, boxes.cpu().numpy(), strict=True)]
            )
        return made

    def packed(self, predictions: Predictions) -> Tensor:
        """Return predictions as the bytes of their JSON."""
        rows = [[float(each["loss"]), *(part.tolist() for part in each["found"])] for each in predictions]
        return torch.frombuffer(bytearray(json.dumps(rows).encode()), dtype=torch.uint8)

    def unpacked(self, tensor: Tensor) -> Predictions:
        """Return the predictions that `packed` stored."""
        rows = json.loads(bytes(tensor.numpy()).decode())
        made = np.zeros(len(rows), dtype=DETECTED)
        for place, (loss, boxes, classes, scores) in enumerate(rows):
            found = Found(np.array(boxes).reshape(-1, 4), np.array(classes, dtype=np.int64), np.array(scores))
            made["loss"][place], made["found"][place] = loss, found
        return made

    def targets(self, targets: Targets) -> Tensor:
        """Return an empty tensor: a batch has the objects, which are mirrored with their image."""
        return torch.empty(0)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            outputs: of the network in training mode: (1,) the own loss of a detector, or (b, C + 4, h, w).
            targets: (b, k, 5) objects.
            label_smoothing: not used.
        """
        return outputs.mean() if outputs.ndim == 1 else losses(outputs, targets).mean()

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Raise: the family does not take `train.r_drop`.

        Raises:
            TypeError: always.
        """
        raise TypeError("Boxes have no distribution to compare.")

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return the records of no rows; `predict` makes those of some.

        Raises:
            TypeError: there are outputs, which alone do not say how large their images are.
        """
        if len(outputs):
            raise TypeError("Outputs of images need the sizes of these.")
        return np.zeros(0, dtype=DETECTED)

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Raise: no formula fits a head that finds objects.

        Raises:
            TypeError: always.
        """
        raise TypeError("No formula fits a head that finds objects.")

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return objects and found boxes as JSON, names of images, and small copies of a few test images."""
        import pyarrow as pa

        assert isinstance(split, ObjectSplit)
        small: list[bytes | None] = [None] * len(split)
        if split.name == "test":
            for row in np.argsort(split.ids, kind="stable")[:PICTURES].tolist():
                small[row] = picture(open_all([split.texts[row]], self.images)[0])
        columns = {
            "label": [
                json.dumps(
                    [
                        [self.labels[label], [round(side, 2) for side in box], ignored]
                        for box, label, ignored in zip(*(each.tolist() for each in row), strict=True)
                    ]
                )
                for row in split.targets
            ],
            "prediction": [
                json.dumps(
                    [
                        [self.labels[label], [round(side, 2) for side in box], round(score, 6)]
                        for box, label, score in zip(*(each.tolist() for each in row), strict=True)
                        if score >= LEAST_STORED
                    ]
                )
                for row in predictions["found"]
            ],
            "image": [self.names.get(each, each) for each in split.texts],
            "size": pa.array(split.sizes.tolist(), pa.list_(pa.int64())),
            "thumbnail": pa.array(small, pa.binary()),
        }
        return columns, {"least_score": str(self.least_score)}

    def answers(self, predictions: Predictions) -> list[list[dict[str, Any]]]:
        """Return the objects of each image, the highest score first: label, score and box in pixels."""
        return [listed(row, self.labels, self.least_score) for row in predictions["found"]]

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`, the objects as JSON, and their number."""
        return ["prediction", "objects"]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return the objects and their numbers."""
        found = self.answers(predictions)
        return [[json.dumps(row, ensure_ascii=False) for row in found], [len(row) for row in found]]

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[Any]]]:
        """Read a folder of images, or a table with a column of paths; see `TaskRuntime`."""
        return read_images(file, columns, how)

    def write_file(self, file: Path, predictions: Predictions) -> bool:
        """See `TaskRuntime`: .json files have COCO's list of results, images counted from 1."""
        return write_coco(file, self.answers(predictions), self.labels)

    def _encode(self, split: Split, size: tuple[int, int]) -> Tokens:
        height, width = size
        made = np.zeros((len(split), 3, height, width), dtype=np.uint8)
        for start in range(0, len(split), PART):
            part: list[Any] = split.texts[start : start + PART]  # images, or what names them
            ready = [each.pixels for each in part if isinstance(each, ReadyImage)]
            for row, each in enumerate(ready or open_all(part, self.images), start):
                made[row] = each if ready else _stretched(each, size)
        # The type of token ids is that of texts; here they are bytes.
        pixels: Any = made
        return Tokens(ids=pixels, offsets=np.arange(len(split) + 1, dtype=np.int64), types=None, truncated=0)


def _stretched(image: Any, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return an RGB image of PIL as (3, height, width), stretched to a size (height, width)."""
    height, width = size
    return np.asarray(image.resize((width, height), resample=2)).transpose(2, 0, 1)  # 2: bilinear


def of_queries(outputs: Tensor) -> Tensor:
    """Return the best pairs of query and class of a detector, the highest score first; as `centre_points.decoded`."""
    shares, boxes = outputs[..., :-4], outputs[..., -4:]
    classes = shares.shape[-1]
    best, places = shares.flatten(1).topk(min(MOST, shares.shape[1] * classes))
    taken = boxes.gather(1, (places // classes).unsqueeze(-1).expand(-1, -1, 4))
    sides = torch.cat([taken[..., :2] - taken[..., 2:] / 2, taken[..., :2] + taken[..., 2:] / 2], dim=-1).clamp(0, 1)
    return torch.cat([(places % classes).unsqueeze(-1).to(sides.dtype), best.unsqueeze(-1), sides], dim=-1)


def _in_pixels(values: npt.NDArray[np.floating[Any]], size: npt.NDArray[np.int64]) -> Found:
    """Return boxes (k, 6) of shares as boxes in pixels, without those of no size."""
    boxes = values[:, 2:].astype(np.float64) * np.tile(size, 2)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Found(boxes[kept], values[kept, 0].astype(np.int64), values[kept, 1].astype(np.float64))


def picture(image: Any) -> bytes:
    """Return a small copy of an RGB image as JPEG."""
    small = image.copy()
    small.thumbnail((PICTURE, PICTURE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return content.getvalue()
