"""The metrics of text generation. Imports no torch.

A metric is a function of targets (n,), tuples of reference texts, and predictions (n,), records of the type `WRITTEN`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.api.metric import Direction, Metric, Predictions, RowScores, Targets, Undefined

# nll: sum of the negative log likelihoods of the reference's tokens; tokens: their number; text: what the model wrote,
# None for a row for which it wrote nothing; written: number of tokens of that; cut: 1 if it was cut at the most tokens;
# choices: pairs of a choice and its log likelihood, None for a row without choices.
WRITTEN = np.dtype([("nll", "f8"), ("tokens", "f8"), ("text", "O"), ("written", "f8"), ("cut", "f8"), ("choices", "O")])

Numbers = npt.NDArray[np.float64]


def loss(targets: Targets, predictions: Predictions) -> float:
    """Negative log likelihood of a token of the references, over all tokens; NaN without any."""
    return float(predictions["nll"].sum() / max(predictions["tokens"].sum(), 1.0))


def loss_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Loss + influence of each row on it, a ratio of two sums."""
    value, mean = loss(targets, predictions), max(float(predictions["tokens"].mean()), 1e-9)
    scores: RowScores = value + (predictions["nll"] - value * predictions["tokens"]) / mean
    return scores


def perplexity(targets: Targets, predictions: Predictions) -> float:
    """The exponential of the loss."""
    return float(np.exp(loss(targets, predictions)))


def perplexity_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """Perplexity + influence of each row on it."""
    value = loss(targets, predictions)
    scores: RowScores = np.exp(value) * (1 + loss_rows(targets, predictions) - value)
    return scores


def texts(predictions: Predictions) -> list[str]:
    """Return what a model wrote.

    Raises:
        Undefined: it wrote nothing for some rows, as for validation rows where the loss selects.
    """
    found = list(predictions["text"])
    if any(text is None for text in found):
        raise Undefined("no texts were written for these rows.")
    return found


def exact_match(targets: Targets, predictions: Predictions) -> float:
    """Fraction of outputs that equal one of their references, up to white space at the ends."""
    return float(exact_match_rows(targets, predictions).mean())


def exact_match_rows(targets: Targets, predictions: Predictions) -> RowScores:
    """1 for an output that equals a reference."""
    pairs = zip(texts(predictions), targets, strict=True)
    return np.array([text.strip() in {each.strip() for each in references} for text, references in pairs], dtype=float)


_MAX, _MIN = Direction.MAXIMIZE, Direction.MINIMIZE

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("exact_match", "exact match", exact_match, exact_match_rows, _MAX, "{:.1%}", 0.0, 1.0),
        Metric("perplexity", "perplexity", perplexity, perplexity_rows, _MIN, "{:.3g}", 1.0),
        # What training minimizes; as in every family it breaks ties.
        Metric("loss", "loss", loss, loss_rows, _MIN, "{:.3f}", 0.0),
    )
}

OF_CHOICES = ("acc", "acc_norm")  # metrics of multiple choice
OF_LIKELIHOODS = ("loss", "perplexity")  # metrics that need no written texts
