"""What the sizes of classes among the test rows say of a metric's interval.

All functions take the sizes (C,) of the classes that occur.
"""

from __future__ import annotations

import numpy as np

from harness.api.metric import ClassSizes

FEW_ROWS = 10  # of a class


def rarer(sizes: ClassSizes) -> float:
    """Return the rows of the rarest class, which limit what a ranking tells (Birnbaum & Klose 1957)."""
    return float(sizes.min())


def of_class_means(sizes: ClassSizes) -> float:
    """Return how many rows a mean over classes is worth, each of which is estimated from its own rows."""
    return float(len(sizes) ** 2 / np.sum(1 / sizes))


def biased(sizes: ClassSizes) -> str:
    """Say why a binned calibration error never has an interval."""
    return "the calibration error of few rows a bin is estimated too high, by more than its standard error"


def few_a_class(sizes: ClassSizes) -> str | None:
    """Say that F1 of small classes is biased, if they are small."""
    mean = len(sizes) / float(np.sum(1 / sizes))
    if mean >= FEW_ROWS:
        return None
    return f"F1 of few rows a class is estimated too low: here are {mean:.1f} (harmonic mean), not {FEW_ROWS}"


def few_of_rarer(sizes: ClassSizes) -> str | None:
    """Say that a few rows of the rarer of two classes decide the error, if it is that small."""
    return _few(sizes, FEW_ROWS)


def few_for_loss(sizes: ClassSizes) -> str | None:
    """Say the same of a loss, most of which a few rows carry."""
    return _few(sizes, 2 * FEW_ROWS)


def _few(sizes: ClassSizes, least: int) -> str | None:
    if len(sizes) != 2 or sizes.min() >= least:
        return None
    return f"the rarer class has {sizes.min()} rows, fewer than {least}, and decides the error"
