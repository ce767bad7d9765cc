"""Loss and perplexity of references, and multiple choice by log likelihood. Imports no torch."""

from __future__ import annotations

import numpy as np

from harness.api.metric import Predictions, RowScores, Targets, Undefined
from harness.tasks.text_generation.metrics.corpus import CorpusMetric, Statistics, mean_of


def loss() -> CorpusMetric:
    """Return the mean negative log likelihood of a token of the references, in nats, over the tokens of all rows."""
    return CorpusMetric(_sums, _per_token)


def perplexity() -> CorpusMetric:
    """Return the exponential of the loss."""
    return CorpusMetric(_sums, lambda sums: float(np.exp(_per_token(sums))))


def accuracy(normalized: bool) -> CorpusMetric:
    """Return the fraction of rows whose likeliest choice is one of their references (acc).

    Args:
        normalized: divide a choice's log likelihood by its number of characters (acc_norm of lm-evaluation-harness).
    """

    def rows(targets: Targets, predictions: Predictions) -> RowScores:
        if "choices" not in (predictions.dtype.names or ()) or any(row is None for row in predictions["choices"]):
            raise Undefined("these rows have no choices.")
        return np.array(
            [
                _best(choices, normalized) in references
                for choices, references in zip(predictions["choices"], targets, strict=True)
            ],
            dtype=np.float64,
        )

    return mean_of(rows)


def _sums(targets: Targets, predictions: Predictions) -> Statistics:
    return np.stack([predictions["nll"], predictions["tokens"]], axis=1).astype(np.float64)


def _per_token(sums: Statistics) -> float:
    return float(sums[0] / max(sums[1], 1.0))


def _best(choices: tuple[tuple[str, float], ...], normalized: bool) -> str:
    return max(choices, key=lambda each: each[1] / (len(each[0]) if normalized else 1))[0]
