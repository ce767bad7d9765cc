"""Text regression in training, evaluation and serving."""

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
from harness.tasks.runtime import Features, TaskRuntime
from harness.tasks.text_regression.data import RegressionData


@dataclass(frozen=True)
class TextRegressionRuntime(TaskRuntime):
    """Outputs are standardized numbers (n, 1); targets and predictions are numbers (n,) in the unit of the source.

    Attributes:
        center, scale: see `RegressionData`.
    """

    family: ClassVar[str] = "text_regression"

    center: float
    scale: float
    outputs: int = 1

    @classmethod
    def of_data(cls, data: RegressionData) -> Self:
        """See `TaskRuntime`."""
        return cls(data.center, data.scale)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        return cls(float(facts["center"]), float(facts["scale"]))

    def facts(self) -> dict[str, Any]:
        """Return mean and standard deviation of the training targets."""
        return {"center": self.center, "scale": self.scale}

    def targets(self, targets: Targets) -> Tensor:
        """Return standardized numbers (b,)."""
        return torch.from_numpy(self._standardized(targets))

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean squared error of standardized numbers."""
        return functional.mse_loss(outputs[:, 0], targets.to(outputs.dtype))

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the mean squared difference, as Liang et al. 2021 do for regression."""
        return functional.mse_loss(one, two)

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return numbers (n,) in the unit of the source."""
        values: Predictions = self.center + self.scale * outputs[:, 0].astype(np.float64)
        return values

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Fit a ridge regression."""
        from sklearn.linear_model import Ridge

        fitted = Ridge(alpha=1 / inverse_strength).fit(features, self._standardized(targets))
        weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
        return LinearHead(weight.astype(np.float32), bias.astype(np.float32))

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return label and prediction."""
        return {"label": split.targets, "prediction": predictions}, {}

    def answers(self, predictions: Predictions) -> list[float]:
        """Return the predicted numbers."""
        return [float(value) for value in predictions]

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`."""
        return ["prediction"]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return the predicted numbers."""
        return [self.answers(predictions)]

    def _standardized(self, targets: Targets) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = ((targets - self.center) / self.scale).astype(np.float32)
        return values
