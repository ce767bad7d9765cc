"""A regularized linear model on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.api.heads import LinearHead
from harness.api.metric import Targets
from harness.errors import HarnessError
from harness.methods.base import ClosedForm, Features, Labels
from harness.tasks.text_classification.linear_model import logistic_regression

if TYPE_CHECKING:
    # Imports torch, which plans and catalogues of methods do without.
    from harness.tasks.runtime import TaskRuntime


@dataclass(kw_only=True)
class LinearProbe(ClosedForm):
    """The task family's linear model with an L2 penalty, on L2-normalized features.

    Logistic regression for classes, ridge regression for numbers.

    Attributes:
        C: inverse strength of the L2 penalty, as in scikit-learn.
    """

    C: float = 10.0

    def __post_init__(self) -> None:
        """Check the fields."""
        if not self.C > 0:
            raise HarnessError(f"method.C must be above 0, not {self.C}.")

    def fit_task(self, task: TaskRuntime, features: Features, targets: Targets, descriptions: Features) -> LinearHead:
        """Fit weight (m, d) and bias (m,)."""
        return task.linear_head(features, targets, self.C)

    def fit(self, features: Features, labels: Labels, descriptions: Features) -> LinearHead:
        """Fit weight (C, d) and bias (C,) for classes."""
        return logistic_regression(features, labels, self.C)
