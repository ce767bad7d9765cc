"""Models of a service in memory: what they answer, and the weights that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from harness.api.family import family_of
from harness.errors import HarnessError
from harness.serve.bodies import HISTORY, PAIR, PROMPT, SINGLE
from harness.serve.files.samples import FILES, sample
from harness.serving.confidence.abstaining import Rule, rule_for
from harness.serving.confidence.judging import Judged, has_features
from harness.statistics.confidence.temperature import scaled


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
    def output_names(self) -> tuple[str, ...]:
        """What its answers are made of: classes, tags, or classes of objects; () without any."""
        return self.labels or tuple(self.facts.get("tags") or self.facts.get("classes") or ())

    @property
    def writes(self) -> bool:
        """Whether it writes texts."""
        return family_of(self.facts.get("family")).writes

    @property
    def retrieves(self) -> bool:
        """Whether it finds passages."""
        return family_of(self.facts.get("family")).retrieves

    @property
    def kind(self) -> str:
        """What its rows are: text | pair | prompt | image | sound | history."""
        reads = family_of(self.facts.get("family")).reads
        if reads in FILES:
            return reads
        if reads == "interaction":
            return HISTORY
        return PROMPT if self.writes else PAIR if self.predictor.pairs else SINGLE

    @property
    def chats(self) -> bool:
        """Whether it answers conversations."""
        return self.writes and self.kind == PROMPT

    @property
    def finds(self) -> bool:
        """Whether its answer is a list of what it finds in a row, with places there: entities, objects."""
        family = family_of(self.facts.get("family"))
        return family.tokens or family.locates

    @property
    def takes_feedback(self) -> bool:
        """Whether a right answer is one class, text or number."""
        return not self.finds and self.kind != HISTORY

    @property
    def items(self) -> tuple[str, ...]:
        """Items of a recommender, the first two; () of other models."""
        return tuple(self.facts.get("items", ())[:2])

    @property
    def reading(self) -> str:
        """What rows that are made of files depend on besides the files; "" for other rows."""
        if self.kind not in FILES:
            return ""
        inner: Any = self.predictor
        return str(self.predictor.task.encoding(inner.tokenizer, inner.network.backbone, inner.max_length).key)

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

    @property
    def known(self) -> Any:
        """What it knows of its reliability, a `Confidence`; None if nothing."""
        return getattr(self.predictor, "confidence", None)

    @property
    def detector(self) -> str | None:
        """The detector of rows of no class that gives the scores of its judged rows; None without one."""
        by_features = has_features(getattr(self.predictor, "network", None))
        return None if self.known is None or not self.known.detectors else self.known.detector(by_features)

    @property
    def explains(self) -> bool:
        """Whether it tells which words decide an answer: of classes of texts."""
        return bool(self.labels) and self.kind in (SINGLE, PAIR)

    @property
    def examples(self) -> Any:
        """The training rows that it shows as similar, `TrainingRows`; None without any, or without features."""
        rows = getattr(self.predictor, "similar", None)
        return rows if has_features(getattr(self.predictor, "network", None)) else None

    def received(self, data: bytes, pixels: int, seconds: float) -> Any:
        """Return a row made of a file; see `harness.tasks.runtime.TaskRuntime.received`."""
        return self.predictor.task.received(data, self.predictor.tokenizer, pixels, seconds)  # type: ignore[attr-defined] # of predictors of files

    def try_out(self) -> None:
        """Predict once, so that the first request finds it warm."""
        row: Any = "a"
        if self.kind in FILES:
            row = self.received(sample(self.kind), 10_000, 1.0)
        elif self.kind == HISTORY:
            row = list(self.items[:1])
        self.predictions([row], ["a"] if self.predictor.pairs else None)

    def predictions(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Any:
        """Return the predictions of n rows."""
        return self.predictor.predictions(list(texts), None if pairs is None else list(pairs))

    def judged(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Judged:
        """Return the predictions of n rows with what the model knows of their reliability."""
        known, predictor = self.known, self.predictor
        if self.examples is not None or (known is not None and known.detectors):
            found: Judged = predictor.judged(list(texts), None if pairs is None else list(pairs))  # type: ignore[attr-defined] # of predictors of classes
            return replace(found, by=self)
        predictions = self.predictions(texts, pairs)
        confidence = None if known is None else scaled(predictions, known.temperature).max(axis=1)
        return Judged(predictions, confidence, by=self)

    def rule(self, precision: float) -> Rule:
        """Return when it abstains for a wanted precision.

        Raises:
            HarnessError: it cannot know, or its validation rows do not show such a precision.
        """
        if self.known is None:
            reason = (
                "was saved by an earlier version, or is an 8-bit export made with --texts: train or export it again"
                if self.labels
                else "predicts no classes: ask without it"
            )
            raise HarnessError(f"No precision can be asked of this model, which {reason}.")
        return rule_for(self.known, precision, has_features(getattr(self.predictor, "network", None)))

    def answers(
        self, predictions: Any, top: int | None = None, rule: Rule | None = None, judged: Judged | None = None
    ) -> list[dict[str, Any]]:
        """Return predictions as JSON: `prediction`, and `probabilities`, the highest first, where there are classes.

        Of a model that finds passages, `prediction` is the first one, by its id if it has one, and `passages` are the
        first ones with their scores.

        With a rule, also `confidence` and `abstained`; a row that is not answered has a `reason`, and its prediction is
        null.

        Args:
            predictions: of n rows.
            top: number of classes whose probabilities are told; None: all.
            rule: when to abstain; None: never.
            judged: the same rows with confidences; for a rule.
        """
        found = self._answers(predictions, top)
        if rule is None or judged is None or judged.confidence is None:
            return found
        for place, answer in enumerate(found):
            confidence = float(judged.confidence[place])
            reason = rule.reason(confidence, None if judged.score is None else float(judged.score[place]))
            answer |= {"confidence": round(confidence, 6), "abstained": reason is not None}
            if reason is not None:
                answer |= {"prediction": None, "reason": reason}
        return found

    def _answers(self, predictions: Any, top: int | None) -> list[dict[str, Any]]:
        plain = [_plain(each) for each in self.predictor.task.answers(predictions)]
        if self.retrieves:
            return [{"prediction": row[0].get("id", row[0]["passage"]), "passages": row[:top]} for row in plain]
        if self.kind == HISTORY:
            return [{"prediction": row[:top]} for row in plain]
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
        if self.retrieves:
            passage = "Every order has a tracking number."
            return [{"prediction": passage, "passages": [{"passage": passage, "score": 0.62}]}]
        if self.kind == HISTORY:
            return [{"prediction": list(self.items)}]
        if self.finds:
            place: dict[str, Any] = {"box": [10.0, 20.0, 30.0, 40.0]} if self.kind in FILES else {"start": 0, "end": 5}
            return [{"prediction": [{"label": "A", "score": 0.9} | place]}]
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
