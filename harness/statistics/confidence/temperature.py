"""Temperature scaling of class probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RANGE = (0.01, 100.0)  # of temperatures; the ends stand for rows that are all right, or no better than chance
LEAST = 1e-12  # probability that a float32 zero stands for

Probabilities = npt.NDArray[np.floating[Any]]


def fit_temperature(probabilities: Probabilities, targets: npt.NDArray[np.int64]) -> float:
    """Find the temperature of the least negative log likelihood (Guo et al. 2017, arXiv:1706.04599).

    The loss is convex in the inverse temperature, so the minimum is unique. Logits are not needed: the logarithms of
    probabilities differ from them by a constant of each row, which the softmax removes.

    Args:
        probabilities: (n, C) of rows that were not trained on.
        targets: (n,) their class indices.

    Returns:
        The temperature: above 1 if the model is too sure, below 1 if it is not sure enough.
    """
    from scipy.optimize import minimize_scalar

    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    right = logs[np.arange(len(targets)), targets]

    def loss(exponent: float) -> float:
        sharpness = np.exp(exponent)
        return float(np.mean(_log_sum_exp(sharpness * logs) - sharpness * right))

    low, high = np.log(1 / RANGE[1]), np.log(1 / RANGE[0])
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(-found.x))


def scaled(probabilities: Probabilities, temperature: float) -> npt.NDArray[np.float64]:
    """Return probabilities (n, C) at a temperature."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    return np.asarray(np.exp(logs - _log_sum_exp(logs)[:, None]))


def negative_log_likelihood(probabilities: Probabilities, targets: npt.NDArray[np.int64]) -> float:
    """Return the mean negative log likelihood of class indices (n,)."""
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.maximum(chosen, LEAST)).mean())


def _log_sum_exp(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    top = logs.max(axis=1)
    return np.asarray(top + np.log(np.exp(logs - top[:, None]).sum(axis=1)))
