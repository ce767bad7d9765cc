"""Recommendation in training, evaluation and serving."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
from harness.data.examples import Examples
from harness.data.readers.file_formats import Table
from harness.data.tokenization import Encoding, Tokens
from harness.models.inference import predict_all
from harness.models.network import AdaptedModel
from harness.tasks.ranking import NONE
from harness.tasks.recommendation.data import HistorySplit, RecommendationData, following, history_split
from harness.tasks.recommendation.examples import FORMAT, HistoryExamples, encode, joined_tokens
from harness.tasks.recommendation.metrics import SEEN, TOP, ranks, record_type
from harness.tasks.recommendation.serving import SEPARATOR, histories_of, read_rows
from harness.tasks.runtime import Features, TaskRuntime, symmetric_divergence

LAST = 10  # items of a history that predictions.parquet holds


@dataclass(frozen=True)
class RecommendationRuntime(TaskRuntime):
    """Outputs are scores of the I items (n, I); predictions are records of `record_type`.

    Attributes:
        items, titles, counts, users: see `RecommendationData`; `users` is their number in training.
        histories: items of each known user, for prediction by a user's name.
    """

    family: ClassVar[str] = "recommendation"

    items: tuple[str, ...]
    titles: tuple[str, ...]
    counts: npt.NDArray[np.int64] = field(repr=False)
    users: int
    histories: Mapping[str, Sequence[int]] = field(default_factory=dict, repr=False)

    @property
    def outputs(self) -> int:  # type: ignore[override]  # it follows from the items
        """The number of items."""
        return len(self.items)

    @classmethod
    def of_data(cls, data: RecommendationData) -> Self:
        """See `TaskRuntime`."""
        histories = {user: each.tolist() for user, each in data.known.items()} if data.keep_users else {}
        return cls(data.items, data.titles, data.counts, data.users, histories)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        counts = np.asarray(facts["counts"], dtype=np.int64)
        return cls(tuple(facts["items"]), tuple(facts["titles"]), counts, int(facts["users"]), facts["histories"])

    def facts(self) -> dict[str, Any]:
        """Return items, their titles and users, and the histories of users unless `task.keep_users=false`."""
        return {
            "items": list(self.items), "titles": list(self.titles), "counts": self.counts.tolist(), "users": self.users,
            "histories": dict(self.histories),
        }  # fmt: skip

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """Read histories as they are."""
        return Encoding(f"histories {FORMAT}", encode)

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join a split's histories and targets."""
        return HistoryExamples(tokens, split.targets, 0)

    def asked(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> HistorySplit:
        """Make a split of users, by name, or of histories: lists of items, or texts of them (see `histories_of`)."""
        found = histories_of(texts, self.items, self.histories)
        rows = np.arange(len(found))
        return history_split("predict", [str(text) for text in texts], found, [()] * len(found), rows)

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Return the predictions of a network; see `TaskRuntime`."""
        return self.joined(predict_all(network, examples, batch_size, device, precision), examples)

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return predictions (n,) from scores (n, I), without histories."""
        return self._ranked(outputs.astype(np.float32))

    def joined(self, outputs: npt.NDArray[np.floating[Any]], examples: Examples) -> Predictions:
        """Return predictions (n,): the items of a history are not recommended again."""
        assert isinstance(examples, HistoryExamples)
        scores = outputs.astype(np.float32)
        for row in range(len(scores)):
            scores[row, examples.history(row)] = SEEN
        return self._ranked(scores)

    def trained_on(self, examples: Examples, config: TrainConfig, max_length: int) -> Examples:
        """Return the ends of histories of two items or more: `task.max_length` positions with an item after each."""
        assert isinstance(examples, HistoryExamples)
        rows = [
            examples.history(row)[-max_length - 1 :] for row in np.flatnonzero(examples.tokens.lengths > 1).tolist()
        ]
        return HistoryExamples(joined_tokens(rows), following(rows), 0)

    def packed(self, predictions: Predictions) -> Tensor:
        """Return the scores."""
        return torch.from_numpy(np.ascontiguousarray(predictions["scores"]))

    def unpacked(self, tensor: Tensor) -> Predictions:
        """Return the predictions of scores."""
        return self._ranked(tensor.numpy())

    def _ranked(self, scores: npt.NDArray[np.float32]) -> Predictions:
        made = np.zeros(len(scores), dtype=record_type(len(self.items)))
        if not len(scores):
            return made
        made["scores"] = scores
        most = min(TOP, scores.shape[1])
        # Of tied items the first in the order of their names: which one it is, metrics of ranks do not depend on.
        top = np.argsort(-scores, axis=1, kind="stable")[:, :most]
        left = np.take_along_axis(scores, top, axis=1) > SEEN
        made["top"] = np.where(left, top, NONE)
        information = -np.log2((self.counts + 1) / (self.users + 1))
        made["novelty"] = (information[top] * left).sum(axis=1) / np.maximum(left.sum(axis=1), 1)
        return made

    def targets(self, targets: Targets) -> Tensor:
        """Return the items that follow those of a batch, row by row."""
        return torch.tensor([item for row in targets for item in row], dtype=torch.int64)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean cross entropy of the next items.

        Args:
            outputs: (t, I) of the positions that an item follows, row by row.
            targets: all items that follow others, row by row.
            label_smoothing: see `TaskRuntime`.
        """
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the symmetric Kullback-Leibler divergence of the distributions over items."""
        return symmetric_divergence(one, two)

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Raise: histories have no frozen features.

        Raises:
            TypeError: always.
        """
        raise TypeError("Histories have no frozen features.")

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return user, targets, ranks, and the end of the history."""
        assert isinstance(split, HistorySplit)
        found = ranks(split.targets, predictions)
        columns = {
            "label": [SEPARATOR.join(self.items[item] for item in row) for row in split.targets],
            "user": split.texts,
            "rank": np.array([float(each.min()) for each in found]),
            "history_length": np.array([len(each) for each in split.histories]),
            "target_users": np.array([int(self.counts[list(row)].min()) for row in split.targets]),
            # As JSON: titles may contain any separator.
            "history": [json.dumps(self._named(each[-LAST:].tolist())) for each in split.histories],
            "target": [json.dumps(self._named(list(row)[:LAST])) for row in split.targets],
            "top": [json.dumps(self._named(each)) for each in predictions["top"].tolist()],
        }
        return columns, {"top": str(TOP)}

    def _named(self, places: Sequence[int]) -> list[str]:
        """Return the titles of items, or their names."""
        titles = self.titles or self.items
        return [titles[place] or self.items[place] for place in places if place != NONE]

    def answers(self, predictions: Predictions) -> list[list[str]]:
        """Return the recommended items of each row, the best first."""
        return [[self.items[place] for place in row if place != NONE] for row in predictions["top"].tolist()]

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`, the items, and `titles` if they have any."""
        return ["prediction", "titles"] if self.titles else ["prediction"]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return items, and titles, of each row as one text."""
        found: list[list[Any]] = [[SEPARATOR.join(row) for row in self.answers(predictions)]]
        titles = [SEPARATOR.join(self._named(row)) for row in predictions["top"].tolist()]
        return [*found, titles] if self.titles else found

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[Any]]]:
        """Read a table with a column of users or of histories; see `TaskRuntime`."""
        return read_rows(file, columns, how, self.items, self.histories)
