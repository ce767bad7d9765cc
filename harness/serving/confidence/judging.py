"""Predictions of new rows with what a saved classifier knows of their reliability, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from harness.models.inference import predict_all
from harness.serving.confidence.detectors import OF_FEATURES, Scores, score
from harness.serving.confidence.stored import Confidence
from harness.serving.training_rows import TrainingRows
from harness.statistics.confidence.temperature import scaled
from harness.tasks.runtime import TaskRuntime

if TYPE_CHECKING:
    from harness.data.examples import Examples


class Predictor(Protocol):
    """What is asked of a `harness.serving.predict.Predictor`, whose attributes these are."""

    @property
    def task(self) -> TaskRuntime:
        """See there, as for all."""

    @property
    def network(self) -> Any:
        """Its network."""

    @property
    def device(self) -> str:
        """Where that is."""

    @property
    def confidence(self) -> Confidence | None:
        """What is known of its reliability."""

    @property
    def similar(self) -> TrainingRows | None:
        """Training rows beside it."""

    def examples(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Examples:
        """Tokenize rows."""


@dataclass(frozen=True)
class Judged:
    """Predictions of n rows.

    Attributes:
        predictions: of the task's family, (n, ...).
        confidence: (n,) calibrated probability of the predicted class; None of a model that knows nothing.
        score: (n,) of the model's detector of rows of no class; None without one.
        features: (n, d), L2-normalized; None where they were not needed.
        by: the model of a service that computed them.
    """

    predictions: Any
    confidence: npt.NDArray[np.float64] | None = None
    score: Scores | None = None
    features: npt.NDArray[np.float32] | None = None
    by: Any = None

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, rows: slice) -> Judged:
        known = (self.predictions, self.confidence, self.score, self.features)
        parts: list[Any] = [None if part is None else part[rows] for part in known]
        return Judged(parts[0], parts[1], parts[2], parts[3], self.by)


def has_features(network: Any) -> bool:
    """Return whether a network gives features, too: not an ONNX file, nor an architecture with its own head."""
    return getattr(network, "head", None) is not None and hasattr(network, "apply_head")


def judge(predictor: Predictor, texts: Sequence[str], pairs: Sequence[str] | None) -> Judged:
    """Predict for n > 0 rows; see `Judged`."""
    known, by_features = predictor.confidence, has_features(predictor.network)
    detector = None if known is None else known.detector(by_features)
    examples = predictor.examples(texts, pairs)
    similar = predictor.similar is not None and by_features
    if detector is None and not similar:
        device = torch.device(predictor.device)
        predictions = predictor.task.predict(predictor.network, examples, 64, device, "fp32")
        return Judged(predictions, None if known is None else scaled(predictions, known.temperature).max(axis=1))
    outputs, features = outputs_and_features(predictor, examples, similar or detector in OF_FEATURES)
    predictions = predictor.task.predictions(outputs)
    if known is None:
        return Judged(predictions, features=features)
    confidence = scaled(predictions, known.temperature).max(axis=1)
    scores = None if detector is None else score(detector, confidence, outputs, features, known.statistics)
    return Judged(predictions, confidence, scores, features)


def outputs_and_features(
    predictor: Predictor, examples: Examples, wanted: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Return the outputs (n, m) of a network and, if they are wanted, its features (n, d)."""
    network: Any = predictor.network
    device = torch.device(predictor.device)
    if not wanted:
        return predict_all(network, examples, 64, device, "fp32"), None

    def both(batch: Any) -> torch.Tensor:
        features = network.features(batch)
        return torch.cat([network.apply_head(features), features], dim=1)

    found = predict_all(both, examples, 64, device, "fp32")
    width = predictor.task.outputs
    return found[:, :width], found[:, width:]
