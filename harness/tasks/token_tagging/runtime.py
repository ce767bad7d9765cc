"""Token tagging in training, evaluation and serving."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.api.heads import LinearHead
from harness.api.metric import Predictions, Targets
from harness.data.dataset import Split
from harness.data.examples import Examples, Rows, by_length
from harness.data.readers.file_formats import Table
from harness.data.tokenization import Encoding, Tokens
from harness.errors import HarnessError
from harness.models.inference import autocast, softmax
from harness.models.network import AdaptedModel
from harness.tasks.runtime import Features, TaskRuntime, symmetric_divergence
from harness.tasks.text_classification.linear_model import logistic_regression
from harness.tasks.token_tagging.data import OUTSIDE, Sentence, TaggingData, TagSplit, split_of
from harness.tasks.token_tagging.encoding import WordEncoder, reads_forward
from harness.tasks.token_tagging.examples import TagExamples
from harness.tasks.token_tagging.metrics import TAGGED
from harness.tasks.token_tagging.serving import (
    OUTPUTS,
    answers_of,
    asked_rows,
    read_for_prediction,
    spans_of,
    write_words,
)

ABSENT = -30.0  # bias of a tag that no training row has


@dataclass(frozen=True)
class TokenTaggingRuntime(TaskRuntime):
    """Outputs (t, C) are the logits of the t words of a batch, row by row; predictions are records (`TAGGED`).

    Attributes:
        tags: the C tags.
        scheme, piece: see `TaggingData`.
    """

    family: ClassVar[str] = "token_tagging"
    own_files: ClassVar[tuple[str, ...]] = OUTPUTS

    tags: tuple[str, ...]
    scheme: str
    piece: str | None = None

    @classmethod
    def of_data(cls, data: TaggingData) -> Self:
        """See `TaskRuntime`."""
        return cls(data.tags, data.scheme, data.piece)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        return cls(tuple(facts["tags"]), facts["scheme"], facts["piece"])

    def facts(self) -> dict[str, Any]:
        """Return the tags and which piece of a word has one."""
        return {"tags": list(self.tags), "scheme": self.scheme, "piece": self.piece}

    @property
    def outputs(self) -> int:  # type: ignore[override]  # follows from the tags
        """Number C of tags."""
        return len(self.tags)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {tag: place for place, tag in enumerate(self.tags)}

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """See `TaskRuntime`."""
        causal = reads_forward(backbone)
        last = causal if self.piece is None else self.piece == "last"
        encoder = WordEncoder(tokenizer, max_length, last, causal)
        return Encoding(encoder.key, lambda split: encoder.encode(_rows(split)))

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """See `TaskRuntime`."""
        return TagExamples(tokens, split.targets, tokenizer.pad_token_id or 0, sentences=_rows(split).sentences)

    def asked(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Split:
        """Make a split of texts, which are cut into words here, or of lists of words."""
        rows = asked_rows(texts)
        return split_of("predict", rows, [(OUTSIDE,) * len(row.words) for row in rows], range(len(rows)))

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Return the tags of n rows."""
        offsets = examples.output_offsets
        outputs = np.zeros((int(offsets[-1]), self.outputs), dtype=np.float32)
        filled = np.flatnonzero(np.diff(offsets))  # a text may have no words
        with torch.no_grad(), autocast(device, precision):
            for rows in _passes(examples, filled, batch_size):
                places = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])
                outputs[places] = network(examples.batch(rows, device)).float().cpu().numpy()
        return self.joined(outputs, examples)

    def joined(self, outputs: npt.NDArray[np.floating[Any]], examples: Examples) -> Predictions:
        """Return the likeliest tag of each word of n rows, and the likelihood of the targets."""
        assert isinstance(examples, TagExamples)
        found = np.zeros(len(examples), dtype=TAGGED)
        probabilities = softmax(outputs) if len(outputs) else outputs
        chosen = probabilities.argmax(axis=1) if len(outputs) else np.zeros(0, dtype=np.int64)
        confidence = probabilities.max(axis=1, initial=0.0)
        for row, (start, end) in enumerate(zip(examples.output_offsets, examples.output_offsets[1:], strict=False)):
            tags = self._indices(examples.targets[row])
            likelihoods = np.maximum(probabilities[start:end][np.arange(end - start), tags], 1e-30)
            found["nll"][row] = -np.log(likelihoods).sum()
            found["words"][row] = end - start
            found["tags"][row] = tuple(self.tags[place] for place in chosen[start:end])
            found["confidence"][row] = tuple(float(value) for value in confidence[start:end])
            found["row"][row] = examples.sentences[row]
        return found

    def packed(self, predictions: Predictions) -> Tensor:
        """Return predictions, without their sentences, as the bytes of their JSON."""
        content = json.dumps([[*row[:2], list(row[2]), list(row[3])] for row in predictions.tolist()])
        return torch.frombuffer(bytearray(content.encode()), dtype=torch.uint8)

    def unpacked(self, tensor: Tensor) -> Predictions:
        """Return the predictions that `packed` stored."""
        rows = json.loads(bytes(tensor.numpy()).decode())
        found = np.zeros(len(rows), dtype=TAGGED)
        for place, (nll, words, tags, confidence) in enumerate(rows):
            found[place] = (nll, words, tuple(tags), tuple(confidence), None)
        return found

    def targets(self, targets: Targets) -> Tensor:
        """Return the tags (t,) of all words of the rows, as indices."""
        return torch.from_numpy(np.concatenate([self._indices(row) for row in targets]))

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy of words."""
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the mean over words of the symmetric Kullback-Leibler divergence."""
        return symmetric_divergence(one, two)

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return the records of no rows; `joined` makes those of some.

        Raises:
            TypeError: there are outputs, which alone do not say whose they are.
        """
        if len(outputs):
            raise TypeError("Outputs of words need the rows that they belong to.")
        return np.zeros(0, dtype=TAGGED)

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Fit a logistic regression on the vectors of words; tags without a word get a bias that excludes them."""
        labels = self.targets(targets).numpy()
        present, found = np.unique(labels, return_inverse=True)
        if len(present) < 2:
            raise HarnessError(f"Every word of the training rows has the tag {self.tags[present[0]]}: add entities.")
        fitted = logistic_regression(features, found.astype(np.int64), inverse_strength)
        weight = np.zeros((len(self.tags), features.shape[1]), dtype=np.float32)
        bias = np.full(len(self.tags), ABSENT, dtype=np.float32)
        weight[present], bias[present] = fitted.weight, fitted.bias
        return LinearHead(weight, bias)

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return words, tags and predicted tags as JSON lists, and numbers of words."""
        rows = _rows(split).sentences
        return {
            "label": [_json(tags) for tags in split.targets],
            "prediction": [_json(tags) for tags in predictions["tags"]],
            "tokens": [_json(row.words) for row in rows],
            "words": predictions["words"],
        }, {"scheme": self.scheme}

    def answers(self, predictions: Predictions) -> list[Any]:
        """Return the tags of each row that was given as words, and the spans of each that was given as a text."""
        return [answers_of(*each) for each in _each(predictions)]

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`, the tags, and what they are of."""
        return ["prediction", "words", "spans"]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return tags, words and spans."""
        rows = _each(predictions)
        return [
            [list(tags) for _, tags, _ in rows],
            [list(row.words) for row, _, _ in rows],
            [spans_of(*each) for each in rows],
        ]

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[Any]]]:
        """See `TaskRuntime`: a word a line, lists of words, or texts."""
        return read_for_prediction(file, columns, how)

    def write_file(self, file: Path, predictions: Predictions) -> bool:
        """See `TaskRuntime`: .conll files have a word a line with its tag."""
        return write_words(file, _each(predictions))

    def _indices(self, tags: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.array([self._places[tag] for tag in tags], dtype=np.int64)


def _passes(examples: Examples, rows: Rows, size: int) -> Iterator[Rows]:
    """Yield rows of similar length, as many as have `size` windows together, or one with more."""
    assert isinstance(examples, TagExamples)
    for part in by_length(examples.tokens.lengths[rows], size):
        windows = np.cumsum(examples.windows[rows[part]])
        yield from np.split(rows[part], np.flatnonzero(np.diff((windows - 1) // size)) + 1)


def _each(predictions: Predictions) -> list[tuple[Sentence, tuple[str, ...], tuple[float, ...]]]:
    return list(zip(predictions["row"], predictions["tags"], predictions["confidence"], strict=True))


def _json(values: Sequence[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def _rows(split: Split) -> TagSplit:
    assert isinstance(split, TagSplit)
    return split
