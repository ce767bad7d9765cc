"""Text classification in training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from harness.api.heads import LinearHead
from harness.api.metric import Predictions, Targets
from harness.data.dataset import Split
from harness.errors import HarnessError
from harness.models.inference import softmax
from harness.tasks.runtime import Features, TaskRuntime, symmetric_divergence
from harness.tasks.text_classification.data import ClassificationData
from harness.tasks.text_classification.linear_model import logistic_regression

OUTSIDE = "(out of scope)"  # label of rows of no class in predictions.parquet


@dataclass(frozen=True)
class TextClassificationRuntime(TaskRuntime):
    """Outputs are logits (n, C), targets class indices (n,), predictions class probabilities (n, C).

    Attributes:
        labels: the C class names.
        descriptions: of the classes; empty for a saved model, which needs none.
    """

    family: ClassVar[str] = "text_classification"
    classifies: ClassVar[bool] = True

    labels: tuple[str, ...]
    descriptions: tuple[str, ...] = ()

    @classmethod
    def of_data(cls, data: ClassificationData) -> Self:
        """See `TaskRuntime`."""
        return cls(data.labels, data.descriptions)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        return cls(tuple(facts["labels"]))

    def facts(self) -> dict[str, Any]:
        """Return the class names."""
        return {"labels": list(self.labels)}

    @property
    def outputs(self) -> int:  # type: ignore[override]  # an attribute of the contract, derived here
        """Number of classes."""
        return len(self.labels)

    def targets(self, targets: Targets) -> Tensor:
        """Return class indices (b,)."""
        return torch.from_numpy(targets)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy of logits (b, C)."""
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the symmetric Kullback-Leibler divergence of logits (b, C)."""
        return symmetric_divergence(one, two)

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return class probabilities (n, C)."""
        return softmax(outputs)

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Fit a logistic regression."""
        return logistic_regression(features, targets, inverse_strength)

    def described(self) -> Split:
        """Return the descriptions of the classes."""
        classes = np.arange(len(self.labels))
        return Split("descriptions", list(self.descriptions), None, classes, classes)

    def check_closed_form(self, method: str, split: Split) -> None:
        """Refuse training rows that lack a class."""
        if len(absent := np.setdiff1d(np.arange(len(self.labels)), split.targets)):
            names = ", ".join(self.labels[index] for index in absent)
            raise HarnessError(
                f"method={method} needs a training row of every class; {split.name} has none of {names}."
            )

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return label, prediction and probabilities; the metadata has the classes, some of which may have no row."""
        import json

        import pyarrow as pa

        names = np.array([*self.labels, OUTSIDE], dtype=object)  # -1 is the target of a row of no class
        columns = {
            "label": names[split.targets].tolist(),
            "prediction": names[predictions.argmax(axis=1)].tolist(),
            "probabilities": pa.array(list(predictions), pa.list_(pa.float32())),
        }
        return columns, {"labels": json.dumps(list(self.labels))}

    def answers(self, predictions: Predictions) -> list[str]:
        """Return the most probable class of each row."""
        return [self.labels[index] for index in predictions.argmax(axis=1)]

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`, and `probability: <label>` for each class."""
        return ["prediction", *(f"probability: {label}" for label in self.labels)]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return the most probable class and the probabilities."""
        return [self.answers(predictions), *(column.astype(float).tolist() for column in predictions.T)]
