"""L2-regularized logistic regression on frozen features, as a method and as the start of a trained head."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.heads import LinearHead

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def logistic_regression(features: Features, labels: Labels, inverse_strength: float) -> LinearHead:
    """Fit L2-regularized logistic regression by L-BFGS; deterministic.

    Args:
        features: (n, d), L2-normalized.
        labels: (n,) class indices; at least two classes, and each class occurs.
        inverse_strength: scikit-learn's `C`.
    """
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # One row per class is a valid setting here; scikit-learn takes it for a regression and warns.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        fitted = LogisticRegression(C=inverse_strength, max_iter=1000).fit(features, labels)
    return linear_head(fitted)


def linear_head(fitted: Any) -> LinearHead:
    """Convert a linear classifier fitted by scikit-learn to a head."""
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:
        # For two classes scikit-learn stores the difference of the logits.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))
