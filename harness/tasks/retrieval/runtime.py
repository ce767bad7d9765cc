"""Retrieval in training, evaluation and serving."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.api.heads import LinearHead
from harness.api.metric import Predictions, Targets
from harness.config.schema import TrainConfig
from harness.data.dataset import Split
from harness.data.examples import Examples, Rows, by_length
from harness.data.tokenization import Tokens
from harness.errors import HarnessError
from harness.models.inference import autocast, predict_all
from harness.models.network import AdaptedModel
from harness.models.retrieval.indexes import WordIndex
from harness.models.retrieval.retrieval_network import RetrievalNetwork
from harness.tasks.ranking import NONE, first, places
from harness.tasks.retrieval.data import QuerySplit, RetrievalData, collection_of, query_split
from harness.tasks.retrieval.examples import RetrievalExamples
from harness.tasks.retrieval.metrics import TOP, first_ranks, record_type
from harness.tasks.runtime import Features, TaskRuntime, symmetric_divergence

PART = 64  # queries whose scores of all passages are held at once


@dataclass(frozen=True)
class RetrievalRuntime(TaskRuntime):
    """Outputs are scores of the P passages (n, P); predictions are records of `record_type`.

    Attributes:
        passages, names, counts, hard_negatives: see `RetrievalData`.
        most_relevant: the most relevant passages of a query.
    """

    family: ClassVar[str] = "retrieval"

    passages: tuple[str, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    counts: npt.NDArray[np.int64] = field(repr=False)
    hard_negatives: int = 0
    most_relevant: int = 1

    @property
    def outputs(self) -> int:  # type: ignore[override]  # it follows from the passages
        """The number of passages."""
        return len(self.passages)

    @classmethod
    def of_data(cls, data: RetrievalData) -> Self:
        """See `TaskRuntime`."""
        return cls(data.passages, data.names, data.counts, data.hard_negatives, data.most_relevant)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        passages, names = tuple(map(str, facts["passages"])), tuple(map(str, facts["names"]))
        if len(names) not in (0, len(passages)):
            raise ValueError(f"{len(names)} names of {len(passages)} passages")
        return cls(passages, names, np.zeros(len(passages), dtype=np.int64))

    def facts(self) -> dict[str, Any]:
        """Return the passages and their names."""
        return {"passages": list(self.passages), "names": list(self.names)}

    def network(self, backbone: nn.Module, pooling: str) -> AdaptedModel:
        """Return a bi-encoder, whose index is empty."""
        return RetrievalNetwork(backbone, pooling, self.outputs)

    def collection(self) -> Split:
        """Return the passages."""
        return collection_of(self.passages)

    def compared(self, examples: Examples, collection: Examples) -> Examples:
        """Return queries with the passages that they are compared with."""
        assert isinstance(examples, RetrievalExamples)
        return replace(examples, passages=collection)

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join the tokens of queries and what is known of them; of passages, their tokens alone."""
        padding = tokenizer.pad_token_id or 0
        if not isinstance(split, QuerySplit):
            return Examples(tokens, split.targets, padding)
        return RetrievalExamples(
            tokens, split.targets, padding, texts=split.texts, negatives=split.negatives,
            hard_negatives=self.hard_negatives,
        )  # fmt: skip

    def asked(self, texts: Sequence[str], pairs: Sequence[str] | None) -> QuerySplit:
        """Make a split of queries; see `TaskRuntime`."""
        for row, text in enumerate(texts, 1):
            if not isinstance(text, str):
                raise HarnessError(f"predict takes texts, and number {row} is {type(text).__name__}.")
        return query_split("predict", texts, [()] * len(texts), [()] * len(texts), np.arange(len(texts)))

    def trained_on(self, examples: Examples, config: TrainConfig, max_length: int) -> Examples:
        """Return training rows; see `TaskRuntime`.

        Raises:
            HarnessError: no batch would have a passage that a query is to be told from.
        """
        assert isinstance(examples, RetrievalExamples)
        if config.batch_size == 1 and not (self.hard_negatives and any(examples.negatives)):
            raise HarnessError(
                "train.batch_size=1 leaves a query without other passages to be told from: set train.batch_size=16 or "
                "more, or give negatives (task.negatives)."
            )
        return examples

    def notes(self, examples: Examples, split: Split) -> list[str]:
        """Tell of passages that were cut; once, with the training rows."""
        passages = examples.passages if isinstance(examples, RetrievalExamples) else None
        if passages is None or not split.name.startswith("train") or not passages.tokens.truncated:
            return []
        return [f"{passages.tokens.truncated} of {len(passages)} passages were cut. To keep more: task.max_length."]

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Return the predictions of a network; see `TaskRuntime`. Scores are held for some queries at a time."""
        assert isinstance(network, RetrievalNetwork) and isinstance(examples, RetrievalExamples)
        if (passages := examples.passages) is not None:
            # It holds no reference to the network, whose memory is free as soon as the last one is gone.
            network.vectors = lambda own: predict_all(own.features, passages, batch_size, device, precision)
        found = np.zeros(len(examples), dtype=record_type(self.most_relevant))
        for rows, scores in _scored(network, examples, min(batch_size, PART), device, precision):
            found[rows] = self._ranked(scores, examples.targets[rows])
        return found

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return predictions (n,) from scores (n, P), without relevant passages."""
        return self._ranked(outputs, [()] * len(outputs))

    def joined(self, outputs: npt.NDArray[np.floating[Any]], examples: Examples) -> Predictions:
        """Return predictions (n,) from scores (n, P)."""
        return self._ranked(outputs, examples.targets)

    def _ranked(self, scores: npt.NDArray[np.floating[Any]], targets: Sequence[Any] | Targets) -> Predictions:
        made = np.zeros(len(scores), dtype=record_type(self.most_relevant))
        made["top"] = NONE
        for row, (own, relevant) in enumerate(zip(scores.astype(np.float32), targets, strict=True)):
            if not np.isfinite(own).all():
                made["scores"][row] = np.nan  # by which `is_finite` tells
                continue
            top = first(own, TOP)
            made["top"][row, : len(top)], made["scores"][row, : len(top)] = top, own[top]
            above, tied = places(own, [place for place, _ in relevant])
            made["above"][row, : len(above)], made["tied"][row, : len(tied)] = above, tied
        return made

    def packed(self, predictions: Predictions) -> Tensor:
        """Return the fields side by side, (n, 2 TOP + 2 R) float64."""
        fields = [predictions[name].astype(np.float64) for name in ("top", "scores", "above", "tied")]
        return torch.from_numpy(np.ascontiguousarray(np.concatenate(fields, axis=1)))

    def unpacked(self, tensor: Tensor) -> Predictions:
        """Return the predictions that `packed` stored."""
        values = tensor.numpy()
        relevant = (values.shape[1] - 2 * TOP) // 2
        made = np.zeros(len(values), dtype=record_type(relevant))
        ends = [TOP, 2 * TOP, 2 * TOP + relevant]
        for name, part in zip(("top", "scores", "above", "tied"), np.split(values, ends, axis=1), strict=True):
            made[name] = part
        return made

    def targets(self, targets: Targets) -> Tensor:
        """Return an empty tensor: a batch says which of its passages is wanted."""
        return torch.empty(0)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean cross entropy of the wanted passages among those of the batch: InfoNCE.

        Van den Oord et al. 2018, arXiv:1807.03748; with the passages of the batch as negatives, Karpukhin et al. 2020,
        arXiv:2004.04906.

        Args:
            outputs: (b, p) similarities divided by the temperature.
            targets: (b,) places of the wanted passages.
            label_smoothing: not used.
        """
        return functional.cross_entropy(outputs, targets)

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the symmetric Kullback-Leibler divergence of the distributions over the passages of a batch."""
        return symmetric_divergence(one, two)

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Raise: a bi-encoder has no head.

        Raises:
            TypeError: always.
        """
        raise TypeError("A bi-encoder has no head.")

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return query, relevant passages, rank, and what was found."""
        import pyarrow as pa

        named = self.names or self.passages
        best = [row[0][0] for row in split.targets]  # the one with the largest gain
        columns = {
            "label": [_joined([named[place] for place, _ in row]) for row in split.targets],
            "query": split.texts,
            "relevant": [self.passages[place] for place in best],
            "rank": first_ranks(split.targets, predictions),
            "first": [self.passages[row[0]] for row in predictions["top"].tolist()],
            "training_queries": np.array([int(self.counts[[p for p, _ in row]].max()) for row in split.targets]),
            "top": pa.array([[p for p in row if p != NONE] for row in predictions["top"].tolist()]),
            "top_scores": pa.array([row[: len(self.passages)] for row in predictions["scores"].tolist()]),
        }
        return columns, {"top": str(TOP), "passages": str(len(self.passages))}

    def answers(self, predictions: Predictions) -> list[list[dict[str, Any]]]:
        """Return the first passages of each row, the best first: `passage`, `score`, and `id` if they have names."""
        return [
            [
                {"passage": self.passages[place], "score": round(float(score), 6)}
                | ({"id": self.names[place]} if self.names else {})
                for place, score in zip(row, scores, strict=True)
                if place != NONE
            ]
            for row, scores in zip(predictions["top"].tolist(), predictions["scores"].tolist(), strict=True)
        ]

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`, the first passage, its `score`, its `passage` if it is predicted by name, and `top`."""
        return ["prediction", "score", *(["passage"] if self.names else []), "top"]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return these columns; `top` has the first passages as JSON."""
        found = self.answers(predictions)
        key = "id" if self.names else "passage"
        return [
            [row[0][key] for row in found],
            [row[0]["score"] for row in found],
            *([[row[0]["passage"] for row in found]] if self.names else []),
            [json.dumps(row, ensure_ascii=False) for row in found],
        ]


def _scored(
    network: RetrievalNetwork, examples: RetrievalExamples, size: int, device: torch.device, precision: str
) -> Iterator[tuple[Rows, npt.NDArray[np.float32]]]:
    """Yield rows and their scores of all passages (b, P)."""
    parts = by_length(examples.tokens.lengths, size)
    if isinstance(network.head, WordIndex):
        for rows in parts:
            yield rows, network.head.scores([examples.texts[row] for row in rows])
        return
    network.refresh()
    for rows in parts:
        with torch.no_grad(), autocast(device, precision):
            scores = network(examples.batch(rows, device)).float().cpu().numpy()
        yield rows, scores


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else json.dumps(list(names), ensure_ascii=False)
