"""What an export predicts against what the model predicted: on test rows, before the folder is left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch

from harness.config.schema import ReportConfig
from harness.data.dataset import Dataset, Split
from harness.data.examples import Examples
from harness.errors import HarnessError
from harness.export.formats import Original, Outputs
from harness.models.inference import predict_all

ROWS = 100  # test rows of a proof; a quantized export is measured on up to QUANTIZED_ROWS
QUANTIZED_ROWS = 2000
# Largest difference of probabilities, of numbers in standard deviations, of losses a token, of logits of tags.
TOLERANCE = 1e-4
CONFIDENCE = ReportConfig.confidence  # of the intervals of an export and its card
LEVEL = f"{100 * CONFIDENCE:.4g} %"
_CPU = torch.device("cpu")
MAX_LOSS = 0.01  # how far below the original's test score a quantized export may be


@dataclass(frozen=True)
class Proof:
    """How an export compares with its model.

    Attributes:
        rows: test rows compared.
        difference: the largest difference, see `TOLERANCE`.
        agreement: share of the rows with the same answer, of the words with the same tag; None of texts and boxes, of
            which outputs alone are compared.
        words: words of the rows, of models of tags; None of others.
        metric, before, after: the task's metric on these rows, of the model and of the export; None without targets.
        interval: interval of after - before, paired by row; None without targets.
    """

    rows: int
    difference: float
    agreement: float | None
    words: int | None = None
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    interval: tuple[float, float] | None = None

    def sentence(self, quantized: bool) -> str:
        """Say what was found."""
        if not quantized:
            return (
                f"Its predictions for {self.rows} test rows differ from the model's by {self.difference:.1e} at most "
                f"(tolerance {TOLERANCE:g})."
            )
        assert self.agreement is not None  # the formats with 8 bits are of models with one answer a row or word
        what = "answer as the model for" if self.words is None else "tag as the model for"
        of = f"{self.rows} test rows" if self.words is None else f"{self.words} words in {self.rows} test rows"
        text = f"8-bit: the same {what} {self.agreement:.1%} of {of}"
        if self.before is None or self.after is None or self.interval is None:
            return f"{text}."
        low, high = self.interval
        return (
            f"{text}; {self.metric} {self.after:.4f} against {self.before:.4f} (difference, {LEVEL} interval: "
            f"{low:+.4f} to {high:+.4f})."
        )


def data_of_run(config: Mapping[str, Any]) -> Dataset:
    """Load the data of a run.

    Raises:
        HarnessError: the data are no longer where the run found them.
    """
    from harness.config.instantiate import build

    try:
        data: Dataset = build(config["task"], config.get("packages", ())).load()
    except HarnessError as error:
        raise HarnessError(
            "An export is proven on test rows, and those of this run cannot be read: " + " ".join(error.problems)
            + " Restore them, or name a file of texts: --texts FILE."
        ) from error  # fmt: skip
    return data


def rows_to_compare(data: Dataset, rows: int) -> Split:
    """Return evenly spread test rows."""
    test = data.test
    places = np.unique(np.linspace(0, len(test) - 1, min(len(test), rows)).astype(np.int64))
    return test.take(places, "test")


def split_of_file(file: Path, original: Original, rows: int) -> Split:
    """Return the rows of a file with the column `text` (and `pair` for models of pairs), without targets."""
    from harness.data.readers.advice import without_settings
    from harness.data.readers.whole_table import read_texts

    columns = ["text", "pair"] if original.predictor.pairs else ["text"]
    _, texts = read_texts(file, columns, {}, without_settings)
    pairs = texts[1][:rows] if original.predictor.pairs else None
    return original.predictor.task.asked(texts[0][:rows], pairs)


def original_predictions(original: Original, split: Split) -> Any:
    """Return the outputs (n, m) of the model for the rows, computed before a format changes its network.

    Raises:
        HarnessError: there are none to compare.
    """
    outputs = network_outputs(original, split, original.predictor.network)
    if not len(outputs):
        raise HarnessError("The rows of the proof hold no word, so nothing can be compared. Name texts: --texts FILE.")
    return outputs


def prove(
    original: Original, split: Split, before: Any, exported: Outputs, metric: str | None, quantized: bool
) -> Proof:
    """Compare an export with its model.

    Args:
        original: the model.
        split: n rows.
        before: from `original_predictions`.
        exported: the outputs of the export.
        metric: of the task; None for rows without targets.
        quantized: whether its predictions may differ.

    Raises:
        HarnessError: they differ by more than is allowed.
    """
    after = network_outputs(original, split, exported)
    task = original.predictor.task
    one = two = words = agreement = None
    if original.family.tokens:
        examples = _examples(original, split)
        one, two = task.joined(before, examples), task.joined(after, examples)
        words, agreement = len(before), float(np.mean(before.argmax(axis=1) == after.argmax(axis=1)))
    elif not (original.writes or original.finds):  # of those outputs are compared: answers are texts or boxes
        one, two = task.predictions(before), task.predictions(after)
        same = [a == b for a, b in zip(task.answers(one), task.answers(two), strict=True)]
        agreement = float(np.mean(same))
    difference = _difference(original, one, two, before, after)
    proof = Proof(len(split), difference, agreement, words)
    if metric is not None and quantized and one is not None:
        proof = _scored(proof, task, split, one, two, metric)
    if not quantized and not difference <= TOLERANCE:
        raise HarnessError(
            f"The export does not predict what the model does: on {len(split)} test rows the largest difference is "
            f"{difference:.2g}, and {TOLERANCE:g} is allowed. Nothing was written. Choose another --format."
        )
    if quantized and metric is not None and proof.before is not None and proof.after is not None:
        worse = (proof.after - proof.before) * (1 if not task.metrics[metric].better(1.0, 0.0) else -1)
        if not worse <= MAX_LOSS:
            raise HarnessError(
                f"The 8-bit export is worse than the model by more than {MAX_LOSS:g} on {len(split)} test rows: "
                f"{metric} {proof.after:.4f} against {proof.before:.4f}. Nothing was written. Leave --int8 out."
            )
    return proof


def network_outputs(original: Original, split: Split, function: Outputs) -> Any:
    """Return the outputs of a function of batches for n rows, as the model tokenizes them: (n, m), of words (t, m)."""
    examples = _examples(original, split)
    if original.family.tokens:  # a row has as many outputs as words, a blank text none
        filled = np.flatnonzero(np.diff(examples.output_offsets))
        parts = [filled[n : n + 16] for n in range(0, len(filled), 16)]
        with torch.no_grad():
            found = [function(examples.batch(rows, _CPU)).numpy() for rows in parts]
        return np.concatenate([np.zeros((0, original.predictor.task.outputs), dtype=np.float32), *found])
    return predict_all(function, examples, 16, _CPU, "fp32")


def _examples(original: Original, split: Split) -> Examples:
    predictor = original.predictor
    return predictor.task.inputs(split, predictor.tokenizer, predictor.network.backbone, predictor.max_length)


def _difference(original: Original, one: Any, two: Any, before: Any, after: Any) -> float:
    """Return the largest difference of predictions, or of outputs; of models that write, of their losses a token."""
    if original.writes:
        tokens = np.maximum(before[:, 1], 1)
        return float(np.abs(before[:, 0] / tokens - after[:, 0] / tokens).max(initial=0.0))
    if not original.predictor.labels:
        return float(np.abs(before - after).max(initial=0.0))
    return float(np.abs(one - two).max(initial=0.0))


def _scored(proof: Proof, task: Any, split: Split, one: Any, two: Any, metric: str) -> Proof:
    before, after = (task.evaluate(split.targets, each).get(metric) for each in (one, two))
    scores = [task.row_scores(split.targets, each).get(metric) for each in (one, two)]
    if before is None or after is None or any(each is None for each in scores):
        return proof
    paired = np.asarray(scores[1], dtype=float) - np.asarray(scores[0], dtype=float)
    error = (
        NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * float(paired.std(ddof=1)) / math.sqrt(len(paired))
        if len(paired) > 1
        else 0.0
    )
    middle = float(after - before)
    return replace(
        proof, metric=metric, before=float(before), after=float(after), interval=(middle - error, middle + error)
    )
