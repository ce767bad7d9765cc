"""Models of a service in memory: what they answer, and the weights that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness.api.family import family_of
from harness.serve.bodies import PAIR, PROMPT, SINGLE


class Predicts(Protocol):
    """A predictor, as `harness.serving.predict.Predictor` is one."""

    @property
    def task(self) -> Any:
        """The runtime of its family."""

    @property
    def pairs(self) -> bool:
        """Whether it reads two texts a row."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The C class names; () without classes."""

    def predictions(self, texts: Sequence[Any], pairs: Sequence[str] | None = None) -> Any:
        """Return the predictions of n rows."""


@dataclass(frozen=True)
class Loaded:
    """A model of a service.

    Attributes:
        predictor: computes its predictions.
        engine: what computes, such as torch.
        facts: of harness.json.
    """

    predictor: Predicts
    engine: str
    facts: Mapping[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """The C class names; () without classes."""
        return self.predictor.labels

    @property
    def writes(self) -> bool:
        """Whether it writes texts."""
        return family_of(self.facts.get("family")).writes

    @property
    def kind(self) -> str:
        """What its rows are: text | pair | prompt."""
        return PROMPT if self.writes else PAIR if self.predictor.pairs else SINGLE

    @property
    def task(self) -> str:
        """The name of its task."""
        return str(self.facts.get("task", ""))

    @property
    def method(self) -> str:
        """The name of its method."""
        return str(self.facts.get("method", ""))

    @property
    def backbone(self) -> str:
        """The name of its pretrained model."""
        return str(self.facts.get("model", {}).get("name", ""))

    @property
    def digest(self) -> str:
        """What identifies its files, 16 hex digits."""
        return str(self.facts.get("files_digest", ""))[:16]

    def predictions(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Any:
        """Return the predictions of n rows."""
        return self.predictor.predictions(list(texts), None if pairs is None else list(pairs))

    def answers(self, predictions: Any, top: int | None = None) -> list[dict[str, Any]]:
        """Return predictions as JSON: `prediction`, and `probabilities`, the highest first, where there are classes."""
        plain = [_plain(each) for each in self.predictor.task.answers(predictions)]
        if not self.labels:
            return [{"prediction": answer} for answer in plain]
        orders = np.argsort(-predictions, axis=1, kind="stable")[:, :top]
        return [
            {
                "prediction": answer,
                "probabilities": {self.labels[place]: _plain(round(float(row[place]), 6)) for place in order},
            }
            for answer, row, order in zip(plain, predictions, orders, strict=True)
        ]

    def example(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return an example of answers, without computing it."""
        if self.labels:
            share = round(1 / len(self.labels), 6)
            return [{"prediction": self.labels[0], "probabilities": dict.fromkeys(self.labels, share)}]
        return [{"prediction": "An answer." if self.writes else 4.5}]


def _plain(value: Any) -> Any:
    """Return a value that JSON has: numbers that are not finite become null."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def share_weights(networks: Sequence[Any]) -> int:
    """Let networks share the storage of tensors that are equal in all bits, such as those of a common backbone.

    Returns:
        The bytes that are no longer held twice.
    """
    import torch

    known: dict[tuple[Any, ...], list[Any]] = {}
    saved = 0
    for network in networks:
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.numel() < 1024 or type(tensor) not in (torch.Tensor, torch.nn.Parameter):  # e.g. quantized
                continue
            key = (tuple(tensor.shape), tensor.dtype, tensor.device, float(tensor.detach().double().sum()))
            twins = known.setdefault(key, [])
            for twin in twins:
                if twin.data_ptr() == tensor.data_ptr():
                    break
                if torch.equal(twin, tensor):
                    tensor.data = twin.data
                    saved += tensor.numel() * tensor.element_size()
                    break
            else:
                twins.append(tensor)
    return saved
