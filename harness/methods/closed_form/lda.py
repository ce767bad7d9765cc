"""Linear discriminant analysis on frozen features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from harness.api.heads import LinearHead
from harness.errors import HarnessError
from harness.methods.base import ClosedForm, Features, Labels
from harness.tasks.text_classification.linear_model import linear_head


@dataclass(kw_only=True)
class Lda(ClosedForm):
    """Gaussian classes with a common covariance (Fisher 1936), shrunk towards a multiple of the identity.

    Attributes:
        shrinkage: weight of the identity, from 0 to 1; "auto" estimates it (Ledoit and Wolf 2004).
    """

    shrinkage: float | str = "auto"

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.shrinkage != "auto" and not (isinstance(self.shrinkage, int | float) and 0 <= self.shrinkage <= 1):
            raise HarnessError(f"method.shrinkage must lie in [0, 1], or be auto (estimated), not {self.shrinkage}.")

    def fit(self, features: Features, labels: Labels, descriptions: Features) -> LinearHead:
        """Fit weight (C, d) and bias (C,)."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        if len(np.unique(labels)) == len(labels):
            raise HarnessError(
                f"method={self.name} estimates how rows of a class scatter, and every class has one row only. Give "
                "more rows a class (task.shots), or use method=nearest_mean."
            )
        with warnings.catch_warnings():
            # A class with one row does not contribute to the covariance estimate; the others do.
            warnings.filterwarnings("ignore", message="Only one sample available")
            fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage).fit(features, labels)
        return linear_head(fitted)
